//! Reads passwords from the terminal, without echo, or from standard input, one per line. They are never
//! arguments, because every user of the machine can list those.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use api::Secret;

use super::output::Failure;

/// The maximum length of a line in bytes. A mistyped device would not end.
const MAX_LINE: u64 = 64 << 10;

/// The source of passwords.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passwords {
    /// Prompts at the terminal.
    Terminal,
    /// One line of standard input per password.
    StandardInput,
}

impl Passwords {
    /// Reads an existing password.
    pub(super) fn known(self, prompt: &str) -> Result<Secret, Failure> {
        self.read(prompt)
    }

    /// Reads a new password; the terminal asks for it twice.
    pub(super) fn chosen(self, prompt: &str) -> Result<Secret, Failure> {
        let password = self.read(prompt)?;
        if matches!(self, Self::Terminal) && self.read("Repeat the password: ")? != password {
            return Err(Failure::new("the two passwords differ").help("nothing was changed; try again"));
        }
        Ok(password)
    }

    fn read(self, prompt: &str) -> Result<Secret, Failure> {
        let text = match self {
            Self::Terminal => typed(prompt)?,
            Self::StandardInput => line()?,
        };
        if text.is_empty() { Err(Failure::usage("the password is empty")) } else { Ok(Secret::new(text)) }
    }
}

fn typed(prompt: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for the password")
            .help("give it on standard input with --password-stdin"));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::new("cannot read a password from the terminal").because(&error))
}

/// Strips the byte order mark that some editors add, and the line break at the end that editors, `echo` and
/// secret stores add.
pub(super) fn bare(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// Reads the next line of standard input, without its line break.
fn line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_LINE).read_line(&mut line);
    match read {
        Ok(read) if read as u64 == MAX_LINE => {
            Err(Failure::usage(format!("the password on standard input has {MAX_LINE} bytes or more")))
        }
        Ok(0) => Err(Failure::usage("standard input ended before a password; it reads one password a line")),
        Ok(_) => Ok(bare(&line).to_owned()),
        Err(error) => Err(Failure::new("cannot read a password from standard input").because(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_read_without_bom_and_line_break() {
        for text in ["secret", "secret\n", "secret\r\n", "\u{feff}secret", "\u{feff}secret\r\n"] {
            assert_eq!(bare(text), "secret", "{text:?}");
        }
        assert_eq!(bare("two lines\n\n"), "two lines\n");
        assert_eq!(bare(" spaces "), " spaces ");
    }
}
