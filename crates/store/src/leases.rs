//! leases: being written.
