//! Recipients by number, their CSV with four variables, and the message that all of them get.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Result;
use serde_json::{Value, json};

/// The columns beside the phone.
pub const COLUMNS: [&str; 4] = ["name", "city", "order_id", "amount"];

/// The phone of the recipient with this number, as digits: a mobile number of India.
pub fn digits(number: u64) -> u64 {
    919_800_000_000 + number
}

/// The recipient's values.
pub fn values(number: u64) -> [String; 4] {
    let city = ["Mumbai", "Bengaluru", "Hyderabad", "Pune", "Kolkata"][(number % 5) as usize];
    [
        format!("Recipient {number}"),
        city.to_owned(),
        format!("ORD-{:08}", number * 7),
        format!("{}.{:02}", 100 + number % 9000, number % 100),
    ]
}

/// Writes the CSV of so many recipients from the one with this number on.
pub fn write_csv(path: &Path, first: u64, count: u64) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "phone,{}", COLUMNS.join(","))?;
    for number in first..first + count {
        writeln!(file, "+{},{}", digits(number), values(number).join(","))?;
    }
    file.flush()?;
    Ok(())
}

/// A template message with three of the variables.
pub fn message() -> Value {
    let parameter = |text: &str| json!({"type": "text", "text": text});
    json!({
        "type": "template",
        "template": {
            "name": "order_update",
            "language": {"code": "en"},
            "components": [{
                "type": "body",
                "parameters": [parameter("{{name}}"), parameter("{{order_id}}"), parameter("{{amount}}")],
            }],
        },
    })
}
