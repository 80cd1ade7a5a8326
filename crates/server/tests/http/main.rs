//! The interface over HTTP, on a real database.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

mod common;

mod audiences_become_ready_or_say_why;
mod callbacks_are_answered_only_once_stored;
mod campaigns_are_checked_whole_and_launched_once;
mod only_callers_with_a_token_are_let_in;
mod tasks_obey_and_show_where_everybody_is;
mod the_rest_of_the_interface;
