//! What campaignd promises: one file per promise, each on the real daemon, a real PostgreSQL and stand-ins for the vendors.
//!
//! A file never reaches into the program: it configures, starts, calls HTTP, waits for a condition, and at the end lets the
//! audit and the vendors' ledger say whether everybody was sent to once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic and say why"
)]

mod a_canary_is_sent_to_before_everybody;
mod a_closed_reply_window_is_foreseen;
mod a_halt_stands_until_lifted;
mod a_kill_at_any_point_sends_nobody_twice;
mod a_kill_leaves_nothing_half_done;
mod a_message_that_cannot_be_written_any_more_halts_its_task;
mod a_messy_spreadsheet_is_imported_with_a_reason_for_each_bad_row;
mod a_misbehaving_vendor_sends_nobody_twice;
mod a_node_that_lost_its_lease_does_nothing;
mod a_number_that_fails_is_left_alone_until_it_writes;
mod a_paused_task_takes_nobody_and_resumes;
mod a_person_is_erased_on_request;
mod a_preview_warns_and_estimates;
mod a_recurring_campaign_fires_once_each_time;
mod a_release_has_no_test_hooks;
mod a_reply_stops_and_starts_marketing;
mod a_restored_backup_starts_paused;
mod a_row_that_cannot_be_sent_fails_alone;
mod a_scheduled_task_starts_at_its_time;
mod a_senders_daily_limit_is_kept;
mod a_sending_window_is_kept;
mod a_standby_that_took_over_starts_paused;
mod a_task_is_reported_in_numbers;
mod a_trial_is_sent_before_everybody_gets_it;
mod a_week_of_campaigns_goes_as_planned;
mod an_expired_campaign_sends_to_nobody_more;
mod an_operator_decides_what_is_unknown;
mod an_overloaded_vendor_is_called_less;
mod answers_survive_a_database_outage;
mod boundaries_hold;
mod callbacks_are_kept_whatever_happens;
mod counts_add_up_at_every_instant;
mod each_recipients_own_window_is_kept;
mod each_vendor_sends_each_recipient_one_message;
mod early_doubled_and_reordered_callbacks_change_nothing;
mod events_that_are_not_taken_are_tried_for_a_day;
mod harness;
mod it_works_behind_a_pooler;
mod kill_nine_sends_nobody_twice;
mod kills_at_random_moments_lose_nobody;
mod no_secret_is_shown;
mod nobody_gets_more_marketing_than_the_cap_allows;
mod nobody_is_told_anything_unasked;
mod one_person_gets_one_message_in_six_seconds;
mod only_what_can_be_read_is_taken_as_a_callback;
mod replies_are_counted_where_they_belong;
mod several_nodes_share_the_accounts;
mod several_people_may_command_at_once;
mod sigterm_loses_nobody;
mod suppressed_numbers_get_nothing;
mod templates_are_known_and_checked;
mod the_api_refuses_clearly;
mod the_audit_finds_what_is_wrong;
mod the_configured_rate_is_kept;
mod the_database_may_go_away;
mod the_hooks_of_these_tests_act_as_told;
mod the_list_of_suppressions_is_exported_and_imported;
mod the_private_cluster_survives;
mod the_proxy_of_these_tests_misbehaves_as_told;
mod too_many_failures_halt_their_task_and_say_why;
mod unknown_is_healed_by_evidence_only;
mod vendor_codes_are_acted_on;
mod what_a_vendor_tells_halts_and_lifts;
mod what_happens_is_told_to_a_webhook_in_order;
mod what_is_scheduled_can_be_changed;
mod what_is_shown_can_be_taken_away;
mod what_is_urgent_goes_first;
mod what_stays_unknown_is_sent_again_once;
