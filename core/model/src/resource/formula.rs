//! A formula over metrics, written in the expressions of Jinja.
//!
//! Read once, into a tree that has only numbers where numbers are meant and only conditions where conditions are meant: what is left to
//! go wrong when it is computed are the values themselves ([`Undefined`]). Computing allocates nothing, takes a time that is linear in
//! the length of the text, and gives the same bits on every machine, since it is made of operations that IEEE 754 defines exactly.
//!
//! Why Jinja's: docs/decisions/0025.

mod reading;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;

/// Longest formula, in bytes: eight lines, which is more than anybody can check by eye.
pub const FORMULA_LEN_MAX: usize = 1024;

/// Most names, numbers, operators and parentheses of a formula. It bounds how deep the reader descends, some 4 KiB of stack each, where
/// a thread has 2 MiB.
pub const FORMULA_TOKENS_MAX: usize = 256;

/// Most parentheses within each other. A level costs the reader some 20 KiB of stack in a build without optimisation.
pub const FORMULA_NESTING_MAX: usize = 16;

/// A formula over metrics: `max(cpu / 60, queue_length / 30)`.
#[derive(Clone)]
pub struct Formula(Arc<Source>);

struct Source {
    text: Box<str>,
    names: Box<[Box<str>]>,
    body: Number,
}

/// Why a text is no formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", At(*.at))]
pub struct FormulaError {
    /// Line and column in it, both from 1, the column in characters; `None` when it is about the whole.
    pub at: Option<(usize, usize)>,
    /// What is wrong, and what would be right.
    pub why: String,
}

struct At(Option<(usize, usize)>);

/// Why a formula has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undefined {
    /// One of its [names](Formula::names) has no value, by its place among them, and the formula does not say what stands in for it.
    Missing(usize),
    /// Something was to be divided by zero.
    DivisionByZero,
    /// The root of a negative number was to be taken.
    RootOfNegative,
    /// A number is greater than a float can hold.
    TooLarge,
}

/// Something that is a number.
enum Number {
    Constant(f64),
    /// By its place among the names.
    Named(usize),
    Negated(Box<Number>),
    Arithmetic(Operator, Box<(Number, Number)>),
    Applied(Function, Box<[Number]>),
    /// The first if the condition holds, else the second.
    Choice(Box<(Condition, Number, Number)>),
    /// The first, or the second where something that the first needs is missing.
    Default(Box<(Number, Number)>),
}

/// Something that holds or does not.
enum Condition {
    Constant(bool),
    Compared(Comparison, Box<(Number, Number)>),
    Both(Box<(Condition, Condition)>),
    Either(Box<(Condition, Condition)>),
    Not(Box<Condition>),
    /// Whether the name at this place has a value.
    Defined(usize),
}

#[derive(Clone, Copy)]
enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy)]
enum Function {
    Min,
    Max,
    Abs,
    Ceil,
    Floor,
    Round,
    Sqrt,
}

impl Formula {
    /// Reads a formula.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let (names, body) = reading::read(text)?;
        Ok(Self(Arc::new(Source { text: text.into(), names: names.into(), body })))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The names in it, each once, in the order in which they first occur.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.names.iter().map(AsRef::as_ref)
    }

    /// The name at this place among [`Self::names`].
    pub fn name(&self, place: usize) -> Option<&str> {
        self.0.names.get(place).map(AsRef::as_ref)
    }

    /// Its value, a finite number, with `value_of` each name by its place among [`Self::names`]; `None` for a name without a value.
    ///
    /// A name in a branch that is not taken is not missed.
    pub fn value(&self, value_of: &dyn Fn(usize) -> Option<f64>) -> Result<f64, Undefined> {
        self.0.body.value(value_of)
    }
}

impl Number {
    fn value(&self, of: &dyn Fn(usize) -> Option<f64>) -> Result<f64, Undefined> {
        let value = match self {
            Self::Constant(number) => *number,
            Self::Named(name) => of(*name).ok_or(Undefined::Missing(*name))?,
            Self::Negated(number) => -number.value(of)?,
            Self::Arithmetic(operator, sides) => operator.applied(sides.0.value(of)?, sides.1.value(of)?)?,
            Self::Applied(function, arguments) => function.applied(arguments, of)?,
            Self::Choice(choice) => {
                let (condition, yes, no) = &**choice;
                if condition.holds(of)? { yes.value(of)? } else { no.value(of)? }
            }
            Self::Default(pair) => match pair.0.value(of) {
                Err(Undefined::Missing(_)) => pair.1.value(of)?,
                value => value?,
            },
        };
        if value.is_finite() { Ok(value) } else { Err(Undefined::TooLarge) }
    }
}

impl Condition {
    fn holds(&self, of: &dyn Fn(usize) -> Option<f64>) -> Result<bool, Undefined> {
        Ok(match self {
            Self::Constant(holds) => *holds,
            Self::Compared(comparison, sides) => comparison.holds(sides.0.value(of)?, sides.1.value(of)?),
            Self::Both(sides) => sides.0.holds(of)? && sides.1.holds(of)?,
            Self::Either(sides) => sides.0.holds(of)? || sides.1.holds(of)?,
            Self::Not(condition) => !condition.holds(of)?,
            Self::Defined(name) => of(*name).is_some(),
        })
    }
}

impl Operator {
    fn applied(self, left: f64, right: f64) -> Result<f64, Undefined> {
        match self {
            Self::Plus => Ok(left + right),
            Self::Minus => Ok(left - right),
            Self::Times => Ok(left * right),
            Self::Over if right == 0.0 => Err(Undefined::DivisionByZero),
            Self::Over => Ok(left / right),
        }
    }
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

impl Function {
    const ALL: [(&'static str, Self); 7] = [
        ("min", Self::Min),
        ("max", Self::Max),
        ("abs", Self::Abs),
        ("ceil", Self::Ceil),
        ("floor", Self::Floor),
        ("round", Self::Round),
        ("sqrt", Self::Sqrt),
    ];

    /// Whether it takes as many arguments as there are, at least one; all others take one.
    fn is_of_many(self) -> bool {
        matches!(self, Self::Min | Self::Max)
    }

    /// With arguments of which there is at least one.
    fn applied(self, arguments: &[Number], of: &dyn Fn(usize) -> Option<f64>) -> Result<f64, Undefined> {
        let mut values = arguments.iter().map(|argument| argument.value(of));
        let first = values.next().unwrap_or(Ok(0.0))?;
        match self {
            Self::Min => values.try_fold(first, |least, value| Ok(least.min(value?))),
            Self::Max => values.try_fold(first, |most, value| Ok(most.max(value?))),
            Self::Abs => Ok(first.abs()),
            Self::Ceil => Ok(first.ceil()),
            Self::Floor => Ok(first.floor()),
            Self::Round => Ok(first.round()),
            Self::Sqrt if first < 0.0 => Err(Undefined::RootOfNegative),
            Self::Sqrt => Ok(first.sqrt()),
        }
    }
}

/// Two formulas are the same when they are written in the same way.
impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Formula {}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl serde::Serialize for Formula {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Formula {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Formula {
    fn schema_name() -> Cow<'static, str> {
        "Formula".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An expression of Jinja over numbers: + - * /, comparisons, and, or, not, `a if condition else b`, \
                            `x | default(0)`, `x is defined`, min, max, abs, ceil, floor, round, sqrt.",
            "type": "string",
            "minLength": 1,
            "maxLength": FORMULA_LEN_MAX,
        })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((1, column)) => write!(f, "at column {column} of the formula: "),
            Some((line, column)) => write!(f, "at line {line}, column {column} of the formula: "),
            None => Ok(()),
        }
    }
}
