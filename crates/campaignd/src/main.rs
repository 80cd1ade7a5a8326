//! campaignd: the daemon and its command line.

mod config;

fn main() {}
