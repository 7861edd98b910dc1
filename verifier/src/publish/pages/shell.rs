//! Words as a shell takes them: what is copied from a page and pasted into a terminal.

use crate::compare::report::printable;

/// One word of a script that is not shown in a page.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// One word of a command. Characters that a page shows escaped are written with escapes of the
/// shell's own (`$'…'`, POSIX.1-2024, section 2.2.4): they are the same on the page and in it.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.,_-+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if printable(text) == text {
        return quoted(text);
    }
    let mut word = "$'".to_owned();
    for character in text.chars() {
        match character {
            '\\' | '\'' => word.extend(['\\', character]),
            ' '..='~' => word.push(character),
            character => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    word.push_str(&format!("\\{byte:03o}"));
                }
            }
        }
    }
    word + "'"
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_shell_reads_what_was_meant() {
        for (text, expected) in [
            ("https://mirror.example/v2", "https://mirror.example/v2"),
            ("", "''"),
            ("~", "'~'"),
            ("a b&c;$(d)`e`", "'a b&c;$(d)`e`'"),
            ("it's", "'it'\\''s'"),
            ("Grüße", "'Grüße'"),
            ("tab\there, it's\n\\", "$'tab\\011here, it\\'s\\012\\\\'"),
            ("\u{202e}a", "$'\\342\\200\\256a'"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
