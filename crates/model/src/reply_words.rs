//! The words by which a person stops messages, and wants them again.
//!
//! A reply counts when it is such a word and nothing else, but for capitals, the blanks around it and how its letters are
//! encoded: "stop" does, "please stop" and "stop it" do not, so that nobody is unsubscribed by a sentence. Typed text and
//! the texts and payloads of quick-reply buttons are all judged alike.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

use crate::FieldError;

/// The words that stop, where nothing else is configured.
pub const OPT_OUT_WORDS: [&str; 17] = [
    "STOP",
    "UNSUBSCRIBE",
    "CANCEL",
    "END",
    "QUIT",
    "ARRÊT",
    "BAJA",
    "PARAR",
    "SAIR",
    "STOPP",
    "СТОП",
    "إيقاف",
    "रोकें",
    "停止",
    "BERHENTI",
    // Buttons of templates.
    "Unsubscribe from Promos",
    "Stop promotions",
];
/// The words that lift an earlier stop, where nothing else is configured.
pub const OPT_IN_WORDS: [&str; 1] = ["START"];

/// Characters of such a word.
const LIMIT_WORD: usize = 60;
/// Bytes of a reply that may be such a word: a longer one is not looked at.
const LIMIT_REPLY_BYTES: usize = 512;
/// Such words, of each kind.
const LIMIT_WORDS: usize = 500;

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// No more messages.
    OptOut,
    /// Messages again.
    OptIn,
}

/// Words, ready to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyWords {
    opt_out: HashSet<String>,
    opt_in: HashSet<String>,
}

impl Default for ReplyWords {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| folded(word)).collect();
        Self { opt_out: words(&OPT_OUT_WORDS), opt_in: words(&OPT_IN_WORDS) }
    }
}

impl ReplyWords {
    /// Words of a configuration, in the place of the usual ones. No words at all: such replies are not looked for.
    ///
    /// # Errors
    /// Words that are empty or too long, too many, or one that means both.
    pub fn new(opt_out: &[String], opt_in: &[String]) -> Result<Self, FieldError> {
        let (opt_out, opt_in) = (read("opt_out_words", opt_out)?, read("opt_in_words", opt_in)?);
        if let Some(both) = opt_in.intersection(&opt_out).next() {
            let message = format!("`{both}` stands in opt_out_words too: leave it out of one");
            return Err(FieldError::new("opt_in_words", message));
        }
        Ok(Self { opt_out, opt_in })
    }

    /// What a reply asks for: a text, or what a button said.
    #[must_use]
    pub fn wish(&self, reply: &str) -> Option<Wish> {
        let reply = trimmed(reply);
        if reply.is_empty() || reply.len() > LIMIT_REPLY_BYTES {
            return None;
        }
        let reply = folded(reply);
        match (self.opt_out.contains(&reply), self.opt_in.contains(&reply)) {
            (true, _) => Some(Wish::OptOut),
            (_, true) => Some(Wish::OptIn),
            _ => None,
        }
    }
}

fn read(field: &str, words: &[String]) -> Result<HashSet<String>, FieldError> {
    if words.len() > LIMIT_WORDS {
        return Err(FieldError::new(field, format!("has more than {LIMIT_WORDS} words")));
    }
    let mut read = HashSet::new();
    for (i, word) in words.iter().enumerate() {
        let length = trimmed(word).chars().count();
        if !(1..=LIMIT_WORD).contains(&length) {
            let message = format!("must have 1 to {LIMIT_WORD} characters");
            return Err(FieldError::new(format!("{field}[{i}]"), message));
        }
        read.insert(folded(word));
    }
    Ok(read)
}

/// `text` as it is compared: letters of one form (full-width ones, and those put together from letter and accent), without
/// capitals. By way of capitals, because `ß` and `SS`, `ς` and `σ` are one in them.
fn folded(text: &str) -> String {
    let plain: String = text.nfkc().collect();
    let plain: String = plain.to_uppercase().to_lowercase().nfkc().collect();
    // Last: some signs are blanks with a mark upon them.
    trimmed(&plain).to_owned()
}

/// `text` without blanks around it, and without the marks that nobody sees and keyboards leave there.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// Joiners, marks of direction, the byte-order mark, and what chooses how a character before it looks.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_alone_counts_and_a_sentence_does_not() {
        let words = ReplyWords::default();
        for reply in [
            "STOP",
            "stop",
            "Stop",
            " \tstop\r\n",
            "Unsubscribe",
            "cancel",
            "END",
            "quit",
            "ARRÊT",
            "arrêt",
            "Arre\u{302}t",
            "baja",
            "parar",
            "Sair",
            "stopp",
            "стоп",
            "Стоп",
            "إيقاف",
            "\u{200f}إيقاف\u{200f}",
            "ا\u{655}يقاف",
            "रोकें",
            "停止",
            "berhenti",
            "ＳＴＯＰ",
            "\u{feff}stop\u{200b}",
            "unsubscribe from promos",
            "Stop promotions",
            "STOP PROMOTIONS",
        ] {
            assert_eq!(words.wish(reply), Some(Wish::OptOut), "{reply:?}");
        }
        for reply in ["START", "start", " Start "] {
            assert_eq!(words.wish(reply), Some(Wish::OptIn), "{reply:?}");
        }
        for reply in [
            "",
            " ",
            "stop it",
            "please stop",
            "don't stop",
            "STOP!",
            "stop.",
            "s t o p",
            "st\u{200b}op",
            "sto",
            "stops",
            "restart",
            "the end",
            "restart start",
            "يقاف",
            "停",
        ] {
            assert_eq!(words.wish(reply), None, "{reply:?}");
        }
        assert_eq!(words.wish(&"stop ".repeat(100_000)), None);
    }

    #[test]
    fn words_of_ones_own_take_the_place_of_the_usual_ones() {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let words = ReplyWords::new(&own(&["Straße", " Genug "]), &own(&["Wieder"])).unwrap();
        assert_eq!(words.wish("STRASSE"), Some(Wish::OptOut));
        assert_eq!(words.wish("genug"), Some(Wish::OptOut));
        assert_eq!(words.wish("wieder"), Some(Wish::OptIn));
        assert_eq!(words.wish("stop"), None);
        assert_eq!(ReplyWords::new(&[], &[]).unwrap().wish("stop"), None);
        let many = vec!["stop".to_owned(); LIMIT_WORDS + 1];
        for (opt_out, opt_in, field) in [
            (own(&["stop", " "]), own(&[]), "opt_out_words[1]"),
            (own(&[]), own(&[&"x".repeat(61)]), "opt_in_words[0]"),
            (own(&["Stop"]), own(&["STOP"]), "opt_in_words"),
            (many, own(&[]), "opt_out_words"),
        ] {
            assert_eq!(ReplyWords::new(&opt_out, &opt_in).unwrap_err().field, field);
        }
        let usual = ReplyWords::new(&own(&OPT_OUT_WORDS), &own(&OPT_IN_WORDS));
        assert_eq!(usual, Ok(ReplyWords::default()));
    }

    proptest! {
        #[test]
        fn capitals_and_blanks_make_no_difference(reply in "\\PC{0,12}", word in prop::sample::select(&OPT_OUT_WORDS[..])) {
            let words = ReplyWords::default();
            prop_assert_eq!(words.wish(&reply), words.wish(&format!("  {reply}\n")));
            prop_assert_eq!(folded(&folded(&reply)), folded(&reply));
            prop_assert_eq!(words.wish(&word.to_uppercase()), Some(Wish::OptOut));
            prop_assert_eq!(words.wish(&word.to_lowercase()), Some(Wish::OptOut));
            let decomposed: String = word.nfd().collect();
            prop_assert_eq!(words.wish(&decomposed), Some(Wish::OptOut));
        }
    }
}
