//! Named points at which a test may end or stop the process, and the offset of its clock.
//!
//! Without the feature `test-hooks` every macro here is nothing and this crate has no code. With it, points are armed by
//! files in a folder (`active`). A release build cannot have it.

#[cfg(all(feature = "test-hooks", not(debug_assertions)))]
compile_error!("the feature test-hooks is for tests: a build without debug assertions cannot have it");

#[cfg(feature = "test-hooks")]
mod active;

#[cfg(feature = "test-hooks")]
pub use active::{clock_offset_ms, pass, setting};

/// A point in asynchronous code, by its name; `if` says when passing it counts.
#[cfg(feature = "test-hooks")]
#[macro_export]
macro_rules! point {
    ($name:literal) => {{
        $crate::pass($name).await;
    }};
    ($name:literal, if $counts:expr) => {{
        if $counts {
            $crate::pass($name).await;
        }
    }};
}

/// A point in asynchronous code, by its name; `if` says when passing it counts.
#[cfg(not(feature = "test-hooks"))]
#[macro_export]
macro_rules! point {
    ($name:literal) => {{}};
    ($name:literal, if $counts:expr) => {{}};
}

/// A number that a test may set before the process starts: its name, and what it is otherwise.
#[cfg(feature = "test-hooks")]
#[macro_export]
macro_rules! setting {
    ($name:literal, $otherwise:expr) => {
        $crate::setting($name).unwrap_or($otherwise)
    };
}

/// A number that a test may set before the process starts: its name, and what it is otherwise.
#[cfg(not(feature = "test-hooks"))]
#[macro_export]
macro_rules! setting {
    ($name:literal, $otherwise:expr) => {
        $otherwise
    };
}
