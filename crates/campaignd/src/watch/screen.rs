//! A few lines at the bottom of the terminal that are drawn over and over.

use std::io::Write;

use console::Term;

/// The lines that are drawn now.
#[derive(Debug)]
pub struct Screen {
    term: Term,
    is_live: bool,
    is_quiet: bool,
    drawn: usize,
}

impl Screen {
    /// On standard output; on standard error when programs read that.
    pub fn new(is_for_programs: bool) -> Self {
        let term = if is_for_programs { Term::stderr() } else { Term::stdout() };
        Self { is_live: term.is_term(), is_quiet: is_for_programs, term, drawn: 0 }
    }

    /// Whether lines can be drawn over.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Draws the lines over those of before. Elsewhere than on a terminal they are printed once, at the end.
    pub fn draw(&mut self, lines: &[String]) -> anyhow::Result<()> {
        if !self.is_live {
            if !self.is_quiet {
                for line in lines {
                    writeln!(self.term, "{line}")?;
                }
            }
            return Ok(());
        }
        let (height, width) = self.term.size();
        let room = usize::from(height).saturating_sub(1).max(1);
        // A line that wrapped would count for two when it is cleared.
        let lines: Vec<_> = lines
            .iter()
            .take(room)
            .map(|line| console::truncate_str(line, usize::from(width).saturating_sub(1), "…"))
            .collect();
        self.term.clear_last_lines(self.drawn)?;
        let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
        self.term.write_all(text.as_bytes())?;
        self.term.flush()?;
        self.drawn = lines.len();
        Ok(())
    }

    /// Prints a line that stays.
    pub fn line(&mut self, line: &str) -> anyhow::Result<()> {
        self.drawn = 0;
        writeln!(self.term, "{line}")?;
        Ok(())
    }

    /// What is drawn stays; the next lines come below.
    pub fn leave(&mut self) {
        self.drawn = 0;
    }
}
