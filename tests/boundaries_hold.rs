//! The rules that are absences, looked for in the source: who may speak SQL, name a vendor, ask the machine for the time, use
//! which crate, and whose paths nobody writes down. Each rule is first shown to catch what it is for.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file of the source tree, by its path from the root.
struct Source {
    path: String,
    text: String,
}

/// A rule: its name, which files it looks at, and what it finds in a line of them.
struct Rule {
    name: &'static str,
    concerns: fn(&str) -> bool,
    is_broken_by: fn(&str) -> bool,
}

const RULES: [Rule; 5] = [
    Rule {
        name: "no SQL outside crates/store",
        concerns: |path| is_program(path) && !path.starts_with("crates/store/"),
        is_broken_by: speaks_sql,
    },
    Rule {
        name: "no vendor's name outside the vendors' modules, their stand-ins and the configuration",
        concerns: |path| is_program(path) && !MAY_NAME_VENDORS.iter().any(|folder| path.starts_with(folder)),
        is_broken_by: |line| {
            let line = line.to_lowercase();
            ["exotel", "sobot"].iter().any(|vendor| line.contains(vendor))
        },
    },
    Rule {
        name: "no clock and no randomness outside the one module that asks the machine",
        concerns: |path| is_program(path) && !MAY_ASK_THE_MACHINE.contains(&path),
        is_broken_by: |line| {
            ["Utc::now", "Local::now", "SystemTime::now", "Uuid::new_v4", "Uuid::now_v7", "rand::"]
                .iter()
                .any(|call| line.contains(call))
        },
    },
    Rule {
        name: "no statement that a pooler would tear apart: crates/store/src/sql.rs prepares them all",
        concerns: |path| {
            path.starts_with("crates/store/src/") && !MAY_PREPARE.iter().any(|part| path.contains(part))
        },
        is_broken_by: |line| {
            ["sqlx::query(", "sqlx::query_", "conn.begin()", "pool.begin()"]
                .iter()
                .any(|call| line.contains(call))
        },
    },
    Rule {
        name: "no path of anybody's machine",
        concerns: |path| path != "tests/boundaries_hold.rs",
        is_broken_by: |line| ["/home/", "/root/", "/work/", "/Users/"].iter().any(|path| line.contains(path)),
    },
];

const MAY_NAME_VENDORS: [&str; 5] = [
    "crates/vendors/",
    "crates/simulator/",
    "crates/campaignd/src/config/",
    // The configuration of a demonstration, and the credentials of the stand-ins.
    "crates/campaignd/src/commands/demo",
    "crates/campaignd/src/commands/simulate.rs",
];

/// The one module, and what never meets a pooler.
const MAY_PREPARE: [&str; 3] = ["/sql.rs", "/testing", "/private_cluster/"];

/// The stand-ins have a clock of their own: vendors do not share ours.
const MAY_ASK_THE_MACHINE: [&str; 2] = ["crates/campaignd/src/system.rs", "crates/simulator/src/clock.rs"];

/// Code of the program itself; tests, benchmarks and examples may do what they need.
fn is_program(path: &str) -> bool {
    let is_beside =
        ["/tests/", "/benches/", "/examples/", "/tests.rs"].iter().any(|part| path.contains(part));
    path.starts_with("crates/") && path.ends_with(".rs") && !is_beside
}

fn speaks_sql(line: &str) -> bool {
    let is_statement = line.contains("SELECT ") && line.contains(" FROM ")
        || ["INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE "]
            .iter()
            .any(|sql| line.contains(sql))
        || line.contains("UPDATE ") && line.contains(" SET ");
    let calls = [
        "use sqlx",
        "sqlx::query(",
        "sqlx::query_",
        "sqlx::raw_sql",
        "query_as(",
        "query_scalar(",
        "raw_sql(",
    ];
    is_statement || calls.iter().any(|call| line.contains(call))
}

/// The lines of a file that a rule looks at, with their numbers: Rust without comments and without its tests at the end.
fn lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let is_rust = source.path.ends_with(".rs");
    let end = if is_rust { source.text.find("#[cfg(test)]\nmod tests {") } else { None };
    let text = &source.text[..end.unwrap_or(source.text.len())];
    let is_comment = move |line: &str| is_rust && line.trim_start().starts_with("//");
    text.lines().enumerate().filter(move |(_, line)| !is_comment(line)).map(|(index, line)| (index + 1, line))
}

fn broken_by(rule: &Rule, source: &Source) -> Vec<String> {
    if !(rule.concerns)(&source.path) {
        return Vec::new();
    }
    // Paths count in comments as well; the other rules are about code.
    let all: Vec<(usize, &str)> = if rule.name.contains("path") {
        source.text.lines().enumerate().map(|(index, line)| (index + 1, line)).collect()
    } else {
        lines(source).collect()
    };
    let found = all.into_iter().filter(|(_, line)| (rule.is_broken_by)(line));
    found.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every text file of the tree but what is built or hidden.
fn sources() -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

#[test]
fn each_rule_catches_what_it_is_for_and_nothing_else() {
    let planted = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let broken = |source: &Source| -> Vec<&str> {
        let is_broken = |rule: &&Rule| !broken_by(rule, source).is_empty();
        RULES.iter().filter(is_broken).map(|rule| rule.name).collect()
    };
    let code = "crates/server/src/pages.rs";
    for (rule, text) in [
        (RULES[0].name, "let n = sqlx::query(\"TABLE tasks\");"),
        (RULES[0].name, "use sqlx::Row as _;"),
        (RULES[0].name, "const COUNT: &str = \"SELECT count(*) FROM tasks\";"),
        (RULES[0].name, "    \"UPDATE tasks SET paused = true\","),
        (RULES[1].name, "if account.vendor == Vendor::SobotIo {"),
        (RULES[1].name, "let name = \"exotel\";"),
        (RULES[2].name, "let now = chrono::Utc::now();"),
        (RULES[2].name, "let id = Uuid::new_v4();"),
        (RULES[4].name, "// see /home/somebody/notes.md"),
    ] {
        assert_eq!(broken(&planted(code, text)), [rule], "{text}");
    }
    let store = "crates/store/src/tasks.rs";
    assert_eq!(broken(&planted(store, "sqlx::query_scalar(\"SELECT 1\")")), [RULES[3].name]);
    for (path, text) in [
        ("crates/store/src/tasks.rs", "sql::query(\"SELECT id FROM tasks\")"),
        ("crates/vendors/src/exotel/client.rs", "pub struct Exotel;"),
        ("crates/campaignd/src/system.rs", "std::time::SystemTime::now().into()"),
        ("crates/server/tests/http/main.rs", "sqlx::query(\"SELECT 1 FROM tasks\"); let now = Utc::now();"),
        (code, "let quiet = \"warn,sqlx::query=error\";"),
        (code, "// as exotel.txt says of Utc::now()\nlet selected = rows.select(from);"),
        (code, "fn f() {}\n#[cfg(test)]\nmod tests {\n    const VENDOR: &str = \"exotel\";\n}"),
    ] {
        assert_eq!(broken(&planted(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn the_source_keeps_every_rule() {
    let sources = sources();
    assert!(
        sources.iter().filter(|source| is_program(&source.path)).count() > 100,
        "the source was not found"
    );
    let broken: Vec<String> = RULES
        .iter()
        .map(|rule| (rule, sources.iter().flat_map(|source| broken_by(rule, source)).collect::<Vec<_>>()))
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(rule, lines)| format!("{}:\n  {}", rule.name, lines.join("\n  ")))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Which crates of ours each may use.
fn may_use() -> BTreeMap<&'static str, &'static [&'static str]> {
    const WORK: &[&str] = &["hooks", "model", "store", "vendors"];
    BTreeMap::from([
        ("api", &["model"][..]),
        ("campaignd", CRATES),
        ("dispatcher", WORK),
        ("hooks", &[]),
        ("model", &[]),
        ("protocol", &["model"]),
        ("reconciler", WORK),
        ("scheduler", WORK),
        ("server", &["api", "dispatcher", "hooks", "model", "reconciler", "scheduler", "store", "vendors"]),
        ("simulator", &[]),
        ("store", &["hooks", "model", "sqlx"]),
        ("vendors", &["hooks", "model"]),
    ])
}

const CRATES: &[&str] = &[
    "api",
    "dispatcher",
    "hooks",
    "model",
    "protocol",
    "reconciler",
    "scheduler",
    "server",
    "simulator",
    "store",
    "vendors",
];

/// The crates that a manifest names among its dependencies, those of tests left out: ours, and the database's driver.
fn uses(manifest: &str) -> Vec<&str> {
    let in_dependencies = manifest.lines().scan(false, |inside, line| {
        if line.starts_with('[') {
            *inside = line.trim() == "[dependencies]";
        }
        Some((*inside, line))
    });
    let names = in_dependencies
        .filter(|(inside, _)| *inside)
        .filter_map(|(_, line)| line.split(['.', '=', ' ']).next());
    names.filter(|name| CRATES.contains(name) || *name == "sqlx").collect()
}

#[test]
fn crates_use_only_those_below_them() {
    let planted = "[package]\nname = \"vendors\"\n[dependencies]\nmodel.workspace = true\nstore = { path = \"x\" }\nsqlx = \"0.9\"\n\
                   [dev-dependencies]\nsimulator.workspace = true\n";
    assert_eq!(uses(planted), ["model", "store", "sqlx"]);
    for (name, allowed) in may_use() {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let forbidden: Vec<&str> =
            uses(&manifest).into_iter().filter(|used| !allowed.contains(used)).collect();
        assert!(forbidden.is_empty(), "crates/{name} may not use {forbidden:?}");
    }
    let folders = fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(folders, may_use().len(), "a crate is new or gone: say here what it may use");
}
