//! Made-up recipients: Indian mobile numbers in a row, a name and an order each, and a few faulty lines.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

/// Rows that nobody can be sent to, so that the demo shows what becomes of them.
#[cfg(test)]
const FAULTY_ROWS: u32 = 3;
const NAMES: [&str; 8] = ["Asha", "Ravi", "Meera", "Kabir", "Zoya", "Arjun", "Lakshmi", "Dev"];
/// Each vendor gets numbers of its own, so that a number suppressed by one is no other's.
const NUMBERS_PER_VENDOR: u64 = 2_000_000;

/// Writes a file for the `vendor`-th vendor.
pub fn write(file: &Path, vendor: u64, recipients: u32) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    writeln!(out, "phone,name,order")?;
    let first = 919_700_000_000 + vendor * NUMBERS_PER_VENDOR;
    for (row, name) in (0..recipients).zip(NAMES.iter().cycle()) {
        writeln!(out, "+{},{name},A-{:06}", first + u64::from(row), row + 1)?;
    }
    writeln!(out, "98765O3210,Letter,A-0")?;
    writeln!(out, "9.19876E+11,Spreadsheet,A-0")?;
    writeln!(out, "+{first},Again,A-0")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_recipients_and_its_faulty_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("1.csv");
        write(&file, 1, 10).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 1 + 10 + usize::try_from(FAULTY_ROWS).unwrap());
        assert_eq!(text.lines().nth(1), Some("+919702000000,Asha,A-000001"));
    }
}
