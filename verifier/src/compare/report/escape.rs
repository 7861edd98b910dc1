//! Escaping: what is read in an archive must not move a cursor, recolour a terminal, reorder a line
//! or open an element.

/// Whether a character is written as an escape everywhere: controls, which terminals obey, and
/// the format characters that reorder or hide text (Unicode TR 36, "Trojan Source").
pub(super) fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// One line of text for a terminal: unsafe characters become `\x1b` or `\u{202e}`, tabs blanks.
pub fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => line.push_str("    "),
            character if !is_unsafe(character) => line.push(character),
            character if u32::from(character) < 0x100 => {
                line.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            character => line.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    line
}
