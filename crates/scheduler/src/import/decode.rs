//! The bytes of a file, in whatever encoding a spreadsheet wrote them, made into UTF-8.
//!
//! A byte order mark decides, else the first bytes that are not ASCII do: UTF-8 when they are valid, otherwise Windows-1252,
//! unless they are plainly of another script. Text that is UTF-8 already is handed on as it is and judged row by row.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::ImportError;

/// Bytes that are looked at, from the first that is not ASCII, before the encoding is decided.
const SAMPLE_BYTES: usize = 64 * 1024;
/// One broken sequence among this many sound ones is a damaged row, not another encoding.
const SOUND_PER_BROKEN: usize = 4;
/// Bytes beyond ASCII from which another script than Latin is believed.
const ENOUGH_FOR_ANOTHER_SCRIPT: usize = 32;

/// Decodes a file piece by piece.
pub(super) struct Decoder {
    state: State,
}

enum State {
    /// Not enough has come to see a byte order mark.
    Start(Vec<u8>),
    /// Nothing but ASCII so far.
    Ascii,
    /// Not ASCII; waits for enough to decide.
    Undecided(Vec<u8>),
    Utf8,
    Other(Box<encoding_rs::Decoder>),
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: State::Start(Vec::new()) }
    }

    /// Decodes `piece` onto the end of `out`; `last` says that nothing follows.
    pub(super) fn decode(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), ImportError> {
        match &mut self.state {
            State::Utf8 => out.extend_from_slice(piece),
            State::Other(decoder) => decode_into(decoder, piece, last, out),
            State::Start(kept) => {
                kept.extend_from_slice(piece);
                if kept.len() >= 4 || last {
                    let kept = std::mem::take(kept);
                    let rest = self.begin(&kept)?;
                    return self.decode(rest, last, out);
                }
            }
            State::Ascii => {
                let ascii = Encoding::ascii_valid_up_to(piece);
                out.extend_from_slice(&piece[..ascii]);
                if ascii < piece.len() {
                    self.state = State::Undecided(Vec::new());
                    return self.decode(&piece[ascii..], last, out);
                }
            }
            State::Undecided(kept) => {
                kept.extend_from_slice(piece);
                if kept.len() >= SAMPLE_BYTES || last {
                    let kept = std::mem::take(kept);
                    self.state = state_for(guess(&kept, last));
                    return self.decode(&kept, last, out);
                }
            }
        }
        Ok(())
    }

    /// Looks at the file's first bytes; what follows the byte order mark.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ImportError> {
        if let Some(what) = foreign_format(bytes) {
            return Err(ImportError::NotCsv { what });
        }
        if let Some((encoding, length)) = Encoding::for_bom(bytes) {
            self.state = state_for(encoding);
            return Ok(&bytes[length..]);
        }
        // A header begins with ASCII, so UTF-16 without its mark shows by its zeros.
        self.state = match bytes {
            [0, second, 0, _, ..] if *second != 0 => state_for(UTF_16BE),
            [first, 0, _, 0, ..] if *first != 0 => state_for(UTF_16LE),
            _ => State::Ascii,
        };
        Ok(bytes)
    }
}

fn state_for(encoding: &'static Encoding) -> State {
    if encoding == UTF_8 {
        State::Utf8
    } else {
        State::Other(Box::new(encoding.new_decoder_without_bom_handling()))
    }
}

/// Files that people upload in place of CSV.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => Some("a workbook (.xlsx, .ods) or another ZIP archive"),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => Some("an old Excel workbook (.xls)"),
        [0x1F, 0x8B, ..] => Some("compressed with gzip"),
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF document"),
        _ => None,
    }
}

fn guess(sample: &[u8], last: bool) -> &'static Encoding {
    let (mut sound, mut broken) = (0, 0);
    let mut chunks = sample.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        sound += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        // A sequence that the sample's end cuts in two is not broken.
        let cut = chunks.peek().is_none() && !last && chunk.invalid().len() < 4;
        broken += usize::from(!chunk.invalid().is_empty() && !cut);
    }
    if broken * SOUND_PER_BROKEN <= sound {
        return UTF_8;
    }
    let high_bytes = sample.iter().filter(|byte| !byte.is_ascii()).count();
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, last);
    let guessed = detector.guess(None, Utf8Detection::Deny);
    // Between the Latin encodings the detector errs on single words ("François" is Baltic to it), however often they stand
    // there, and Windows-1252 is what spreadsheets write. Another script shows beyond doubt once there is enough of it.
    if high_bytes >= ENOUGH_FOR_ANOTHER_SCRIPT && !is_latin(guessed) { guessed } else { WINDOWS_1252 }
}

fn is_latin(encoding: &'static Encoding) -> bool {
    matches!(
        encoding.name(),
        "windows-1252"
            | "windows-1250"
            | "windows-1254"
            | "windows-1257"
            | "windows-1258"
            | "ISO-8859-2"
            | "ISO-8859-4"
            | "ISO-8859-10"
            | "ISO-8859-13"
            | "ISO-8859-14"
            | "ISO-8859-15"
            | "ISO-8859-16"
            | "ISO-8859-3"
    ) || encoding == UTF_8
}

fn decode_into(decoder: &mut encoding_rs::Decoder, piece: &[u8], last: bool, out: &mut Vec<u8>) {
    let room = decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len() * 3 + 16);
    let start = out.len();
    out.resize(start + room, 0);
    let (_, _, written, _) = decoder.decode_to_utf8(piece, &mut out[start..], last);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], step: usize) -> String {
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.decode(piece, false, &mut out).unwrap();
        }
        decoder.decode(&[], true, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2], bom: bool) -> Vec<u8> {
        let mark = bom.then_some(0xFEFF);
        mark.into_iter().chain(text.encode_utf16()).flat_map(order).collect()
    }

    const TEXT: &str = "phone,name\n+919876543210,José नमस्ते 😀\n";

    #[test]
    fn every_encoding_gives_the_same_text_however_it_is_cut() {
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(decode(TEXT.as_bytes(), step), TEXT);
            assert_eq!(decode(format!("\u{feff}{TEXT}").as_bytes(), step), TEXT);
            for bom in [true, false] {
                assert_eq!(decode(&utf16(TEXT, u16::to_le_bytes, bom), step), TEXT);
                assert_eq!(decode(&utf16(TEXT, u16::to_be_bytes, bom), step), TEXT);
            }
        }
    }

    #[test]
    fn windows_1252_is_seen_by_a_single_name() {
        for name in [
            "José",
            "Müller",
            "Renée",
            "Zoë",
            "François",
            "Ñandú",
            "Søren",
            "50 € off",
            "it’s",
            "“hello”",
            "£5",
            "Ångström",
            "São Paulo",
            "naïve",
            "Peña",
            "Große",
        ] {
            let (bytes, _, _) = WINDOWS_1252.encode(name);
            let mut file = b"phone,name\n+919876543210,".to_vec();
            file.extend_from_slice(&bytes);
            file.push(b'\n');
            assert_eq!(decode(&file, 1000), format!("phone,name\n+919876543210,{name}\n"));
        }
    }

    #[test]
    fn another_script_is_seen_when_there_is_enough_of_it() {
        let text = "phone,name\n+79161234567,Александр Сергеевич Пушкин\n+79161234568,Наталья Николаевна Гончарова\n";
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(text);
        assert_eq!(decode(&bytes, 1000), text);
    }

    #[test]
    fn one_damaged_row_does_not_change_the_encoding_of_the_others() {
        let mut bytes = "é,è,ê,ë,ü\n".as_bytes().to_vec();
        bytes.push(0xE9);
        assert_eq!(guess(&bytes, true), UTF_8);
        assert_eq!(guess(&bytes[..bytes.len()], false), UTF_8);
    }

    #[test]
    fn other_formats_are_named() {
        let mut out = Vec::new();
        let error = Decoder::new().decode(b"PK\x03\x04rest", false, &mut out).unwrap_err();
        assert!(error.to_string().contains("workbook"), "{error}");
    }

    proptest! {
        #[test]
        fn utf8_comes_through_unchanged(text in "[ -~]{0,80}\\PC{0,80}", step in 1usize..50) {
            prop_assume!(foreign_format(text.as_bytes()).is_none());
            prop_assert_eq!(decode(text.as_bytes(), step), text);
        }
    }
}
