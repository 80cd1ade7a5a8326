//! SIGKILL at random moments, again and again, while all three vendors misbehave and the database restarts: nobody is sent to
//! twice and nobody is lost. `make soak` does the same for as long as one likes.

use std::time::Duration;

use crate::harness::soak::{self, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn and_send_to_nobody_twice() {
    let plan = Plan {
        lasting: Duration::from_secs(25),
        recipients: 100_000,
        daemons: 3,
        has_steady_one: false,
        of_a_campaign: 600,
        alive_ms: 50..3_000,
        database_restarts: Some(Duration::from_secs(9)),
        seed: 1,
        is_told: false,
    };
    let report = soak::run(plan).await;
    assert!(report.is_clean(), "\n{report}");
    assert!(report.kills >= 5, "too few kills to say anything\n{report}");
    assert!(report.sum.accepted > 100, "too few messages to say anything\n{report}");
}
