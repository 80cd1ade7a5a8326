//! `make instructions`: how many instructions the pure hot functions need, each held to a budget.
//!
//! Counted by Valgrind, so that other load on the machine changes nothing. Nothing here may read a clock, a file or a
//! socket, or walk a hash map: the counts would differ from run to run. Every input is made, and every function called
//! once, before the counting: what happens once in a process (tables, compiled expressions) is not what is guarded.

#![expect(clippy::unwrap_used, reason = "what a benchmark prepares must be there")]

mod answers;
mod budgets;
mod callbacks;
mod messages;
mod people;
mod phones;
mod statuses;

use gungraun::main;

use crate::{answers::judging, callbacks::parsing, messages::rendering, phones::reading, statuses::applying};

main!(library_benchmark_groups = reading, rendering, judging, parsing, applying);
