//! Before a launch one sees what each recipient would get and what speaks against it, when everybody will have been sent to,
//! and what it costs.

use api::{Campaign, NewCampaign, Preview, PreviewRequest, SendingWindow};

use crate::harness::{Account, World, campaign, text, within};

const PRICES: &str = r#"{ currency = "USD", IN = 0.0088, default = 0.05 }"#;

async fn draft(world: &World, audience: i64, change: impl FnOnce(&mut NewCampaign)) -> Campaign {
    let mut draft = NewCampaign { launch: false, ..campaign(world.account(0), audience) };
    change(&mut draft);
    world.api().create_campaign(&draft, None).await.unwrap()
}

async fn preview(world: &World, campaign: &Campaign, request: &PreviewRequest) -> Preview {
    world.api().preview_campaign(campaign.id, request).await.unwrap()
}

fn warns(warnings: &[String], words: &str) -> bool {
    warnings.iter().any(|warning| warning.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rows_numbers_and_texts() {
    let world = World::new().account(Account::sobot_in().set("price_per_message", PRICES)).start().await;
    let long = "x".repeat(4_100);
    let csv = format!(
        "phone,name,city\n+919876000001,Asha,Pune\n+911800123456,Ravi,Agra\n+4915112345678,{long},Bonn\n"
    );
    let audience = world.import(csv).await.id;
    let campaign = draft(&world, audience, |draft| draft.message = text("Hello {{name}}")).await;
    let all = preview(&world, &campaign, &PreviewRequest::default()).await;
    assert_eq!(all.items.iter().map(|item| item.no).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all.items[0].warnings, [""; 0]);
    assert!(warns(&all.items[1].warnings, "toll-free"), "{:?}", all.items[1].warnings);
    assert!(warns(&all.items[2].warnings, "would not be sent"), "{:?}", all.items[2].warnings);
    let cost = all.estimate.cost.expect("prices are configured");
    assert_eq!((cost.amount, cost.currency.as_str(), cost.is_exact), (0.0676, "USD", true));
    let shown: Vec<_> = cost.by_country.iter().map(|one| (one.country.as_deref(), one.recipients)).collect();
    assert_eq!(shown, [(Some("DE"), 1), (Some("IN"), 2)]);

    let named = PreviewRequest { nos: Some(vec![3, 2]), ..PreviewRequest::default() };
    let named = preview(&world, &campaign, &named).await;
    assert_eq!(named.items.iter().map(|item| item.no).collect::<Vec<_>>(), [2, 3]);
    for wrong in [vec![4], vec![], vec![1; 51]] {
        let request = PreviewRequest { nos: Some(wrong), ..PreviewRequest::default() };
        let refused = world.api().preview_campaign(campaign.id, &request).await.unwrap_err();
        assert!(refused.status() == Some(422) && refused.to_string().contains("nos"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_time_that_limits_leave_and_of_many_countries() {
    let account = Account::sobot_in()
        .set("price_per_message", PRICES)
        .sender("messages_per_second", 10)
        .sender("daily_recipients", 15_000);
    let mut world = World::new().account(account).start().await;
    // The two countries take turns.
    let phones =
        (0..10_000).map(|n| format!("+{}\n+{}\n", 919_876_000_000_u64 + n, 4_915_112_000_000_u64 + n));
    let audience =
        world.import(std::iter::once("phone\n".to_owned()).chain(phones).collect::<String>()).await;
    assert_eq!(audience.rows.accepted, 20_000, "{audience:?}");
    world.set_clock("2026-12-01T20:00:00Z");
    let window = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: None,
        time_zone: "Asia/Kolkata".to_owned(),
    };
    let campaign = draft(&world, audience.id, |draft| {
        draft.message = text("Hello");
        draft.sending_window = Some(window);
        draft.messages_per_second = Some(5.0);
        draft.expires_at = Some("2026-12-03T00:00:00Z".parse().unwrap());
    })
    .await;
    // The clock is moved within 20 ms.
    let opens: chrono::DateTime<chrono::Utc> = "2026-12-02T03:30:00Z".parse().unwrap();
    let shown = crate::harness::wait_until("the clock is moved", within(5), async || {
        let shown = preview(&world, &campaign, &PreviewRequest::default()).await;
        (shown.estimate.starts_at == Some(opens)).then_some(shown)
    })
    .await;
    let estimate = shown.estimate;
    assert_eq!((estimate.recipients, estimate.messages_per_second), (20_000, Some(5.0)));
    // 15,000 on the first day, the others a day after the first.
    assert_eq!(estimate.ends_at, Some("2026-12-03T03:46:40Z".parse().unwrap()));
    assert_eq!(estimate.seconds, Some(24 * 3600 + 1_000));
    assert!(warns(&shown.warnings, "expires") && warns(&shown.warnings, "15000 recipients a day"));
    let cost = estimate.cost.expect("prices are configured");
    let exact = 10_000.0 * (0.0088 + 0.05);
    assert!(!cost.is_exact && (cost.amount - exact).abs() < exact * 0.05, "{cost:?}, and not {exact}");
    let id = campaign.id.to_string();
    let output =
        tokio::task::block_in_place(|| world.process(0).run(&["campaign", "preview", &id, "--no", "2"]));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && lines.contains("USD") && lines.contains("2 +4915112000000"),
        "{lines}"
    );
}
