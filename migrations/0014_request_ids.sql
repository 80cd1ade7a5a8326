-- Requests are numbered from the time at which their database began, 100,000 for each second since 2026: the reports of another
-- database's requests, which is gone, must not find those of this one.
SELECT setval('request_ids', greatest((SELECT last_value FROM request_ids),
                                      (extract(epoch FROM clock_timestamp())::bigint - 1767225600) * 100000));
