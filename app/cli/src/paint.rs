//! Colours on terminals.

use std::io::{self, IsTerminal};

use comfy_table::Color;

/// Whether the user allows colours. Pipes and files never get any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Allowed on terminals.
    Allowed,
    /// Not allowed: `NO_COLOR` is set (no-color.org).
    Unwanted,
}

impl Colours {
    /// Whether to use colours on standard error.
    pub fn on_stderr(self) -> bool {
        self == Self::Allowed && io::stderr().is_terminal()
    }

    /// Whether to use colours on standard output.
    pub(crate) fn on_stdout(self) -> bool {
        self == Self::Allowed && io::stdout().is_terminal()
    }
}

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The desired state.
    Good,
    /// In transition, or worth attention.
    Notable,
    /// A problem.
    Bad,
    /// Less important than the text around it.
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

/// Colours text for one output stream, if colours are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether colours are on.
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

/// `text` with control characters replaced, because they could manipulate the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_coloured_only_if_colours_are_on() {
        assert_eq!(Paint { is_on: false }.tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint { is_on: true }.tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }
}
