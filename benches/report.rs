//! What a row says, and the table and the JSON that all of them make.

use serde_json::{Value, json};

/// A row of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What it is called by whoever runs it alone.
    pub name: String,
    /// Our figure, with its unit.
    pub figure: String,
    /// The figure that it is compared with.
    pub reference: String,
    /// Ours to the reference.
    pub ratio: Option<f64>,
    /// What is to be reached.
    pub goal: String,
    /// Whether it is; none: nobody can tell.
    pub is_met: Option<bool>,
    /// What helps to understand it, a line each.
    pub notes: Vec<String>,
    /// The bare numbers.
    pub numbers: Value,
    /// The load average when it was measured, before and after.
    pub load: (f64, f64),
}

impl Row {
    /// A row that compares a figure to a reference.
    pub fn ratio(name: &str, figure: String, reference: String, ratio: f64, least: f64) -> Self {
        Self {
            name: name.to_owned(),
            figure,
            reference,
            ratio: Some(ratio),
            goal: format!(">= {least:.2}"),
            is_met: Some(ratio >= least),
            ..Self::default()
        }
    }

    /// A row whose figure has a bound of its own.
    pub fn at_most(name: &str, figure: f64, unit: &str, most: f64) -> Self {
        Self {
            name: name.to_owned(),
            figure: format!("{figure:.1} {unit}"),
            reference: "-".to_owned(),
            goal: format!("<= {most} {unit}"),
            is_met: Some(figure <= most),
            ..Self::default()
        }
    }

    /// With a line that explains.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With the numbers for programs.
    pub fn numbers(mut self, numbers: Value) -> Self {
        self.numbers = numbers;
        self
    }

    fn cells(&self) -> [String; 7] {
        let met = match self.is_met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        [
            self.name.clone(),
            self.figure.clone(),
            self.reference.clone(),
            self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
            self.goal.clone(),
            met.to_owned(),
            format!("{:.1}-{:.1}", self.load.0, self.load.1),
        ]
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "row": self.name, "figure": self.figure, "reference": self.reference, "ratio": self.ratio,
            "goal": self.goal, "is_met": self.is_met, "notes": self.notes, "numbers": self.numbers,
            "load": [self.load.0, self.load.1],
        })
    }
}

/// The table as text, the notes below it.
pub fn table(rows: &[Row]) -> String {
    let head = ["row", "figure", "reference", "ratio", "goal", "met", "load"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if number == 0 {
            let rule = widths.map(|width| "-".repeat(width));
            text.push_str(&format!("| {} |\n", rule.join(" | ")));
        }
    }
    for row in rows {
        for note in &row.notes {
            text.push_str(&format!("  {}: {note}\n", row.name));
        }
    }
    text
}

/// 1234567.8 as `1.23 M`.
pub fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.1}"),
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A row as it is measured.
pub fn line(row: &Row) -> String {
    let [name, figure, reference, ratio, goal, met, _] = row.cells();
    format!("{name}: {figure}, reference {reference}, ratio {ratio}, goal {goal}, met {met}")
}
