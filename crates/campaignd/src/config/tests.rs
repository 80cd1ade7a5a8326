//! The sample file of the documentation word for word, and each complaint as it is printed.

use super::*;

const SAMPLE: &str = include_str!("sample.toml");

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn secrets() -> Environment {
    environment(&[
        ("EXOTEL_API_KEY", "key-in-variable"),
        ("EXOTEL_API_TOKEN", "token-in-variable"),
        ("EXOTEL_WEBHOOK_TOKEN", "webhook-in-variable"),
    ])
}

/// The sample with the senders that it leaves out for brevity.
fn whole_sample() -> String {
    let sender = "[[accounts.senders]]\nfrom = \"919999000002\"\n";
    SAMPLE.replacen("waba_id = \"…\"\n", &format!("waba_id = \"…\"\n{sender}"), 1) + sender
}

fn load(text: &str, variables: &Environment) -> Result<Config, String> {
    Config::from_text(text, Some(Path::new("campaignd.toml")), variables).map_err(|error| error.to_string())
}

/// An account that is right, at line 1.
const ACCOUNT: &str = r#"[[accounts]]
name = "a"
vendor = "sobot_in"
access_key = "access"
secret_key = "secret"
[[accounts.senders]]
from = "91999"
"#;

#[test]
fn the_sample_lacks_only_the_senders() {
    let error = load(SAMPLE, &secrets()).unwrap_err();
    assert_eq!(
        error,
        "campaignd.toml:25: accounts[1].senders: is missing: add at least one [[accounts.senders]] with `from`\n\
         campaignd.toml:32: accounts[2].senders: is missing: add at least one [[accounts.senders]] with `from`"
    );
}

#[test]
fn the_sample_with_senders_is_read_in_full() {
    let config = load(&whole_sample(), &secrets()).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.server.public_url.as_deref(), Some("https://campaigns.example.com"));
    assert_eq!(config.server.max_upload_bytes, 2_147_483_648);
    assert!(config.database.url.is_none());
    assert_eq!(config.database.data_dir, Path::new("campaignd-data"));
    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["exotel-main", "sobot", "sobot-inbox"]);
    let exotel = &config.accounts[0];
    assert_eq!(exotel.base_url, "https://api.in.exotel.com");
    assert_eq!((exotel.batch_size, exotel.max_in_flight, exotel.requests_per_second), (100, 16, Some(50.0)));
    assert_eq!(exotel.senders[0].from, "+919999000001");
    assert_eq!(exotel.senders[0].messages_per_second, Some(80.0));
    assert_eq!(exotel.senders[0].daily_recipients, Some(100_000));
    assert!(exotel.webhook_token.as_ref().unwrap().is("webhook-in-variable"));
    assert_eq!(config.accounts[1].base_url, "https://sg.sobot.io");
    assert_eq!(config.limits.max_per_recipient, None);
    assert!(!config.limits.foresee_closed_window, "off unless asked for");
    let expected = "two accounts without a webhook_token";
    assert_eq!(config.warnings.len(), 2, "{expected}: {:?}", config.warnings);
}

#[test]
fn limits_are_read_from_the_file_and_from_variables() {
    let written = "[limits]\nmax_per_recipient = { count = 3, days = 7 }\nforesee_closed_window = true\n";
    let limits = load(written, &Environment::new()).unwrap().limits;
    let cap = limits.max_per_recipient.unwrap();
    assert_eq!((cap.count, cap.days, limits.foresee_closed_window), (3, 7, true));
    let variable = ("CAMPAIGND_LIMITS__MAX_PER_RECIPIENT__COUNT".to_owned(), "2".to_owned());
    let limits = load(written, &Environment::from([variable])).unwrap().limits;
    assert_eq!(limits.max_per_recipient.unwrap().count, 2);
}

#[test]
fn secrets_are_not_printed() {
    let mut variables = secrets();
    variables.insert("CAMPAIGND_DATABASE__URL".to_owned(), "postgres://u:hush@h/d".to_owned());
    variables.insert("CAMPAIGND_ADMIN_TOKEN".to_owned(), "hush-hush".to_owned());
    let shown = format!("{:?}", load(&whole_sample(), &variables).unwrap());
    for secret in ["in-variable", "hush"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_line_that_is_no_toml_is_named_but_not_quoted() {
    let error = load("[server]\n[[accounts]]\napi_key = \"hush\napi_token = 1\n", &secrets()).unwrap_err();
    assert!(error.starts_with("campaignd.toml:3: is not valid TOML: "), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

/// A configuration that is wrong, and the line that says so.
const WRONG: &[(&str, &str)] = &[
    (
        "[server]\nlisten = 8080\n",
        "campaignd.toml:2: server.listen: must be a string, but is an integer: put it in quotes",
    ),
    (
        "[server]\nlisten = \"here\"\n",
        "campaignd.toml:2: server.listen: must be an address and a port, such as 127.0.0.1:8080 or [::]:8080",
    ),
    (
        "[server]\n\nlisen = \"127.0.0.1:80\"\n",
        "campaignd.toml:3: server.lisen: is not a known key; did you mean `listen`?",
    ),
    (
        "[server]\ncolour = 1\n",
        "campaignd.toml:2: server.colour: is not a known key; known here: listen, public_url, max_upload_bytes",
    ),
    (
        "[sever]\nlisten = \"127.0.0.1:80\"\n",
        "campaignd.toml:1: sever: is not a known key; did you mean `server`?",
    ),
    ("server = 1\n", "campaignd.toml:1: server: must be a table, as in [server], but is an integer"),
    (
        "[server]\nmax_upload_bytes = \"1\"\n",
        "campaignd.toml:2: server.max_upload_bytes: must be a whole number of at least 1, but is a string: remove the quotes",
    ),
    (
        "[server]\nmax_upload_bytes = -5\n",
        "campaignd.toml:2: server.max_upload_bytes: must be a whole number of at least 1",
    ),
    (
        "[server]\npublic_url = \"example.com\"\n",
        "campaignd.toml:2: server.public_url: is not a URL such as https://campaigns.example.com",
    ),
    (
        "[server]\npublic_url = \"ftp://example.com\"\n",
        "campaignd.toml:2: server.public_url: must begin with http:// or https:// and a host",
    ),
    (
        "[database]\nurl = \"mysql://x\"\n",
        "campaignd.toml:2: database.url: must begin with postgres:// or postgresql://",
    ),
    (
        "[database]\ndata_dir = \"\"\n",
        "campaignd.toml:2: database.data_dir: must not be empty: name a folder, such as campaignd-data",
    ),
    (
        "[database]\nurl = \"postgres://x\"\npooler = \"true\"\n",
        "campaignd.toml:3: database.pooler: must be true or false, without quotes",
    ),
    (
        "[database]\npooler = true\n",
        "campaignd.toml:2: database.pooler: needs `url`, the pooler's address: the private PostgreSQL has no pooler",
    ),
    (
        "[database]\nurl = \"postgres://x\"\npooler = true\nmigrations_url = \"mysql://x\"\n",
        "campaignd.toml:4: database.migrations_url: must begin with postgres:// or postgresql://",
    ),
    (
        "[database]\nurl = \"postgres://x\"\nmigrations_url = \"postgres://x\"\n",
        "campaignd.toml:3: database.migrations_url: is for `pooler = true` alone: without a pooler, `url` is used",
    ),
    (
        "[retention]\nmessages_days = 0\n",
        "campaignd.toml:2: retention.messages_days: must be a whole number of at least 1",
    ),
    (
        "[limits]\nmax_per_recipient = { count = 3 }\n",
        "campaignd.toml:2: limits.max_per_recipient.days: is missing: write max_per_recipient = { count = 3, days = 7 }",
    ),
    (
        "[limits]\nmax_per_recipient = { count = 3, days = 91 }\n",
        "campaignd.toml:2: limits.max_per_recipient.days: must be 1 to 90",
    ),
    (
        "[limits]\nforesee_closed_window = \"yes\"\n",
        "campaignd.toml:2: limits.foresee_closed_window: must be true or false, without quotes",
    ),
    (
        "[accounts]\nname = \"a\"\n",
        "campaignd.toml:1: accounts: must be a list of tables: write [[accounts]], two brackets; it is a table",
    ),
    (
        "[[accounts]]\nname = \"a\"\n[accounts.senders]\nfrom = \"1\"\n",
        "campaignd.toml:3: accounts[0].senders: must be a list of tables: write [[accounts.senders]], two brackets; it is a table",
    ),
    (
        "[[accounts]]\nname = \"a\"\nvendor = \"twilio\"\n",
        "campaignd.toml:3: accounts[0].vendor: is not a known vendor: write one of exotel, sobot_io, sobot_in",
    ),
    (
        "[[accounts]]\nvendor = \"exotel\"\n",
        "campaignd.toml:1: accounts[0].name: is missing: give the account a name, such as name = \"main\"",
    ),
];

#[test]
fn complaints_name_line_key_and_remedy() {
    for (text, expected) in WRONG {
        let error = load(text, &Environment::new()).unwrap_err();
        assert!(
            error.lines().any(|line| line == *expected),
            "for\n{text}expected\n{expected}\nbut got\n{error}"
        );
    }
}

#[test]
fn complaints_about_accounts_name_line_key_and_remedy() {
    let cases: &[(String, &str)] = &[
        (
            ACCOUNT.replace("from = \"91999\"", "form = \"91999\""),
            "campaignd.toml:7: accounts[0].senders[0].form: is not a known key; did you mean `from`?",
        ),
        (
            ACCOUNT.replace("from = \"91999\"", ""),
            "campaignd.toml:6: accounts[0].senders[0].from: is missing: write the business number as the vendor names it",
        ),
        (
            ACCOUNT.replace("from = \"91999\"", "from = 91999"),
            "campaignd.toml:7: accounts[0].senders[0].from: must be a string, but is an integer: put it in quotes",
        ),
        (
            ACCOUNT.replace("\"access\"", "true"),
            "campaignd.toml:4: accounts[0].access_key: must be a string, but is a boolean: put it in quotes",
        ),
        (
            ACCOUNT.replace("access_key = \"access\"\n", ""),
            "campaignd.toml:1: accounts[0].access_key: is missing or empty: an account of vendor `sobot_in` needs it",
        ),
        (
            ACCOUNT.replace("\"access\"\n", "\"access\"\nbatch_size = 5\n"),
            "campaignd.toml:5: accounts[0].batch_size: is a key of vendor `exotel`, but this account's vendor is `sobot_in`",
        ),
        (
            ACCOUNT.replace("\"access\"\n", "\"access\"\nrequests_per_second = 0\n"),
            "campaignd.toml:5: accounts[0].requests_per_second: must be 0.001 to 100000 per second; leave it out for no limit of its own",
        ),
        (
            ACCOUNT.replace("\"secret\"", "\"${NOT_SET}\""),
            "campaignd.toml:5: accounts[0].secret_key: names the environment variable NOT_SET, which is not set or empty: set it, then start again",
        ),
        (
            ACCOUNT.replace("\"secret\"", "\"${NOT_CLOSED\""),
            "campaignd.toml:5: accounts[0].secret_key: holds `${` without a closing `}`; write `$${` for the two characters themselves",
        ),
        (
            ACCOUNT.replace("\"secret\"", "\"file:/nowhere/secret\""),
            "campaignd.toml:5: accounts[0].secret_key: names the file /nowhere/secret, which cannot be read: No such file or directory (os error 2)",
        ),
        (
            format!("{ACCOUNT}{}", ACCOUNT.replace("91999", "91998")),
            "campaignd.toml:9: accounts[1].name: `a` is the name of accounts[0] too: give each its own",
        ),
        (
            format!("{ACCOUNT}{}", ACCOUNT.replace("\"a\"", "\"b\"")),
            "campaignd.toml:14: accounts[1].senders[0].from: `91999` is a sender of account `a` too: two accounts would exceed its rate together",
        ),
    ];
    for (text, expected) in cases {
        let error = load(text, &Environment::new()).unwrap_err();
        assert!(
            error.lines().any(|line| line == *expected),
            "for\n{text}expected\n{expected}\nbut got\n{error}"
        );
    }
}

#[test]
fn batch_size_is_1_to_100() {
    let text = whole_sample();
    for size in ["0", "101"] {
        let error =
            load(&text.replace("batch_size = 100", &format!("batch_size = {size}")), &secrets()).unwrap_err();
        assert!(error.starts_with("campaignd.toml:19: accounts[0].batch_size: must be "), "{error}");
    }
    let config = load(&text.replace("batch_size = 100", "batch_size = 1"), &secrets()).unwrap();
    assert_eq!(config.accounts[0].batch_size, 1);
}

#[test]
fn variables_with_two_underscores_override_and_others_are_no_error() {
    let variables = environment(&[
        ("CAMPAIGND_SERVER__LISTEN", "0.0.0.0:9000"),
        ("CAMPAIGND_SERVER__MAX_UPLOAD_BYTES", "1000"),
        ("CAMPAIGND_ACCOUNTS__0__SECRET_KEY", "kept ${as it} is"),
        ("CAMPAIGND_ACCOUNTS__0__REQUESTS_PER_SECOND", "2.5"),
        ("CAMPAIGND_ACCOUNTS__0__SENDERS__1__FROM", "91998"),
        ("CAMPAIGND_DATABASE__URL", ""),
        ("CAMPAIGND_ADMIN_TOKEN", "an administrator's token"),
        ("CAMPAIGND_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ]);
    let config = load(ACCOUNT, &variables).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.server.max_upload_bytes, 1000);
    assert_eq!(config.accounts[0].requests_per_second, Some(2.5));
    assert_eq!(config.accounts[0].senders[1].from, "91998");
    assert!(config.database.url.is_none());
    assert!(config.admin_token.unwrap().is("an administrator's token"));
    match &config.accounts[0].credentials {
        vendors::account::Credentials::SobotIn { secret_key, .. } => {
            assert!(secret_key.is("kept ${as it} is"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn accounts_may_come_from_variables_alone() {
    let mut variables = Environment::new();
    for index in 0..11 {
        for (key, value) in [
            ("NAME", format!("a{index}")),
            ("VENDOR", "sobot_in".to_owned()),
            ("ACCESS_KEY", "access".to_owned()),
            ("SECRET_KEY", "secret".to_owned()),
            ("SENDERS__0__FROM", format!("9199{index}")),
        ] {
            variables.insert(format!("CAMPAIGND_ACCOUNTS__{index}__{key}"), value);
        }
    }
    assert_eq!(load("", &variables).unwrap().accounts.len(), 11);
}

#[test]
fn complaints_about_variables_name_the_variable() {
    let cases = [
        (
            "CAMPAIGND_SERVER__LISEN",
            "x",
            "environment variable CAMPAIGND_SERVER__LISEN: server.lisen: is not a known key; did you mean `listen`?",
        ),
        (
            "CAMPAIGND_SERVER__MAX_UPLOAD_BYTES",
            "many",
            "environment variable CAMPAIGND_SERVER__MAX_UPLOAD_BYTES: server.max_upload_bytes: must be a whole number of at least 1",
        ),
        (
            "CAMPAIGND_ACCOUNTS__2__NAME",
            "x",
            "environment variable CAMPAIGND_ACCOUNTS__2__NAME: accounts[2]: there are 1 so far, so the next index is 1",
        ),
        (
            "CAMPAIGND_ACCOUNTS__NAME",
            "x",
            "environment variable CAMPAIGND_ACCOUNTS__NAME: accounts: is a list: put an index after its name, from 0, as in CAMPAIGND_ACCOUNTS__0__NAME",
        ),
        (
            "CAMPAIGND_ACCOUNTS__0",
            "x",
            "environment variable CAMPAIGND_ACCOUNTS__0: accounts[0]: is a table: name one of its keys after another `__`",
        ),
        (
            "CAMPAIGND_ACCOUNTS__0__NAME__X",
            "x",
            "environment variable CAMPAIGND_ACCOUNTS__0__NAME__X: accounts[0].name: is a string and has no keys of its own",
        ),
    ];
    for (name, value, expected) in cases {
        let error = load(ACCOUNT, &environment(&[(name, value)])).unwrap_err();
        assert_eq!(error, expected);
    }
}

#[test]
fn the_database_url_has_three_sources_in_order() {
    let own = ("CAMPAIGND_DATABASE__URL", "postgres://own");
    let inherited = ("DATABASE_URL", "postgres://inherited");
    let file = "[database]\nurl = \"postgres://file\"\ndata_dir = \"beside\"\n";
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 4] = [
        (file, &[own, inherited], "postgres://own"),
        (file, &[inherited], "postgres://file"),
        ("", &[inherited], "postgres://inherited"),
        ("", &[own, inherited], "postgres://own"),
    ];
    for (text, variables, expected) in cases {
        let config = load(text, &environment(variables)).unwrap();
        assert!(config.database.url.unwrap().is(expected), "{expected}");
    }
    assert_eq!(load(file, &environment(&[own])).unwrap().database.data_dir, Path::new("beside"));
    let error = load("", &environment(&[("DATABASE_URL", "mysql://x")])).unwrap_err();
    assert!(error.contains("it comes from the variable DATABASE_URL"), "{error}");
}

#[test]
fn a_pooler_may_be_told_by_the_environment() {
    let variables = [
        ("CAMPAIGND_DATABASE__URL", "postgres://pooler"),
        ("CAMPAIGND_DATABASE__POOLER", "true"),
        ("CAMPAIGND_DATABASE__MIGRATIONS_URL", "postgres://server"),
    ];
    let config = load("", &environment(&variables)).unwrap();
    assert!(config.database.pooler);
    assert!(config.database.migrations_url.unwrap().is("postgres://server"));
    let config = load("", &environment(&variables[..2])).unwrap();
    assert!(
        config.warnings.iter().any(|warning| warning.contains("migrations_url")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_secret_file_loses_one_newline_and_is_looked_up_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "from a file\n\n").unwrap();
    let file = folder.path().join("campaignd.toml");
    std::fs::write(
        &file,
        ACCOUNT.replace("\"secret\"", "\"file:${FOLDER}secret\"").replace("access\"", "a$${b\""),
    )
    .unwrap();
    let variables = environment(&[("FOLDER", "./")]);
    let config = Config::load(Some(&file), &variables).unwrap();
    match &config.accounts[0].credentials {
        vendors::account::Credentials::SobotIn { secret_key, access_key } => {
            assert!(secret_key.is("from a file\n"));
            assert!(access_key.is("a${b"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let error = Config::load(Some(Path::new("/nowhere/campaignd.toml")), &Environment::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/campaignd.toml: cannot be read: No such file or directory (os error 2); name another with --config"
    );
}

#[test]
fn prices_are_read_and_complained_about_by_line_and_key() {
    let with =
        |prices: &str| load(&format!("{ACCOUNT}[accounts.price_per_message]\n{prices}"), &environment(&[]));
    let config = with("currency = \"USD\"\nIN = 0.0088\ndefault = 1\n").unwrap();
    let prices = config.accounts[0].prices.as_ref().unwrap();
    assert_eq!((prices.of(Some("IN")), prices.of(Some("DE"))), (Some(0.0088), Some(1.0)));
    for (wrong, complaint) in [
        ("IN = 0.01\n", "price_per_message.currency: must name"),
        (
            "currency = \"USD\"\nIndia = 0.01\n",
            "campaignd.toml:10: accounts[0].price_per_message.India: is no country",
        ),
        (
            "currency = \"USD\"\nIN = \"0.01\"\n",
            "campaignd.toml:10: accounts[0].price_per_message.IN: must be a number",
        ),
        (
            "currency = \"USD\"\nIN = -1\n",
            "campaignd.toml:10: accounts[0].price_per_message.IN: must be the price",
        ),
        ("currency = \"USD\"\n", "price_per_message.default: is missing"),
    ] {
        let error = with(wrong).unwrap_err();
        assert!(error.contains(complaint), "{wrong}: {error}");
    }
}

#[test]
fn a_confirmation_is_a_text_that_suits_everybody() {
    let with = |text: &str| load(&format!("[replies]\nconfirmation = \"{text}\"\n"), &secrets());
    let config = with("No more offers.").unwrap();
    assert_eq!(config.opt_out_confirmation.as_deref(), Some("No more offers."));
    for (text, reason) in [("Bye {{name}}", "the same for everybody"), (&"x".repeat(4_097), "4096")] {
        let refused = with(text).unwrap_err();
        assert!(refused.contains("replies.confirmation") && refused.contains(reason), "{refused}");
    }
}
