//! Colours on terminals.

use std::io::{self, IsTerminal};

use comfy_table::Color;

/// Whether the user wants colours at all; a pipe or a file never gets any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// On terminals.
    Allowed,
    /// Nowhere: `NO_COLOR` is set (no-color.org).
    Unwanted,
}

impl Colours {
    /// Whether standard error takes colours.
    pub fn on_stderr(self) -> bool {
        self == Self::Allowed && io::stderr().is_terminal()
    }

    /// Whether standard output takes colours.
    pub(crate) fn on_stdout(self) -> bool {
        self == Self::Allowed && io::stdout().is_terminal()
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it shall be.
    Good,
    /// On its way, or worth a look.
    Notable,
    /// Wrong.
    Bad,
    /// Of less weight than what stands around it.
    Quiet,
}

impl Tone {
    /// The colour in a table.
    pub(crate) const fn colour(self) -> Color {
        match self {
            Self::Good => Color::Green,
            Self::Notable => Color::Yellow,
            Self::Bad => Color::Red,
            Self::Quiet => Color::DarkGrey,
        }
    }

    /// The parameter of the escape sequence (ECMA-48, SGR).
    const fn code(self) -> u8 {
        match self {
            Self::Good => 32,
            Self::Notable => 33,
            Self::Bad => 31,
            Self::Quiet => 90,
        }
    }
}

/// Paints for one stream, or leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether the stream takes colours.
    pub(crate) is_on: bool,
}

impl Paint {
    pub(crate) fn stdout(colours: Colours) -> Self {
        Self { is_on: colours.on_stdout() }
    }

    pub(crate) fn stderr(colours: Colours) -> Self {
        Self { is_on: colours.on_stderr() }
    }

    /// `text` in the colour of `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        if self.is_on { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_owned() }
    }
}

/// `text` on one line and without control characters, which could rewrite the terminal that shows it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_no_colours_gets_none() {
        assert_eq!(Paint { is_on: false }.tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint { is_on: true }.tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn a_text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }
}
