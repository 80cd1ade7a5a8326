-- Ten thousand scheduled tasks must cost nothing that is looked at four times a second.
CREATE INDEX tasks_due ON tasks (account, starts_at) WHERE state = 1;
CREATE INDEX tasks_running ON tasks (account) WHERE state = 2;
CREATE INDEX tasks_expiring ON tasks (account, expires_at) WHERE state IN (1, 2) AND expires_at IS NOT NULL;
