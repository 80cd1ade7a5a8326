//! CSV audiences into PostgreSQL; due campaigns into tasks.

pub mod import;
