//! A formula over metrics: an expression of Jinja.
//!
//! It is parsed once, into a typed tree of numbers and conditions, so that an evaluation can fail only because of its values
//! ([`Undefined`]). An evaluation allocates nothing, takes a time that is linear in the length of the text, and gives the same bits on every
//! machine, since IEEE 754 defines its operations exactly.
//!
//! Why Jinja: docs/decisions/0025.

mod reading;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;

/// The longest formula in bytes: eight lines, more than can be reviewed.
pub const FORMULA_LEN_MAX: usize = 1024;

/// The most names, numbers, operators and parentheses of a formula. It bounds the recursion of the parser, some 4 KiB of stack each; a
/// thread has 2 MiB.
pub const FORMULA_TOKENS_MAX: usize = 256;

/// The most nested parentheses. A level needs some 20 KiB of stack in a build without optimization.
pub const FORMULA_NESTING_MAX: usize = 16;

/// A formula over metrics: `max(cpu / 60, queue_length / 30)`.
#[derive(Clone)]
pub struct Formula(Arc<Source>);

struct Source {
    text: Box<str>,
    names: Box<[Box<str>]>,
    body: Number,
}

/// Why a text is not a formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", At(*.at))]
pub struct FormulaError {
    /// Line and column, both from 1, the column in characters; `None` when it is about the formula as a whole.
    pub at: Option<(usize, usize)>,
    /// What is wrong, and how to correct it.
    pub why: String,
}

struct At(Option<(usize, usize)>);

/// Why a formula has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undefined {
    /// One of its [names](Formula::names), by its index, has no value, and the formula has no default for it.
    Missing(usize),
    /// A division by zero.
    DivisionByZero,
    /// The square root of a negative number.
    RootOfNegative,
    /// A number is greater than a float can hold.
    TooLarge,
}

/// An expression of a number.
enum Number {
    Constant(f64),
    /// By its index among the names.
    Named(usize),
    Negated(Box<Number>),
    Arithmetic(Operator, Box<(Number, Number)>),
    Applied(Function, Box<[Number]>),
    /// The first if the condition is true, otherwise the second.
    Choice(Box<(Condition, Number, Number)>),
    /// The first, or the second if a value of the first is missing.
    Default(Box<(Number, Number)>),
}

/// An expression of a condition.
enum Condition {
    Constant(bool),
    /// Whether each comparison holds between the number before it and its own, as in `a < b <= c`.
    Compared(Box<Number>, Box<[(Comparison, Number)]>),
    Both(Box<(Condition, Condition)>),
    Either(Box<(Condition, Condition)>),
    Not(Box<Condition>),
    /// Whether the name at this index has a value.
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
    /// Parses a formula.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let (names, body) = reading::parse(text)?;
        Ok(Self(Arc::new(Source { text: text.into(), names: names.into(), body })))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The names in it, each once, in the order in which they first occur.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.names.iter().map(AsRef::as_ref)
    }

    /// The name at this index among [`Self::names`].
    pub fn name(&self, index: usize) -> Option<&str> {
        self.0.names.get(index).map(AsRef::as_ref)
    }

    /// Its value, a finite number. `value_of` returns the value of the name with this index among [`Self::names`]; `None` if it has none.
    ///
    /// A missing name in a branch that is not taken is ignored.
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
            Self::Compared(first, rest) => {
                let mut left = first.value(of)?;
                for (comparison, number) in rest {
                    let right = number.value(of)?;
                    if !comparison.holds(left, right) {
                        return Ok(false);
                    }
                    left = right;
                }
                true
            }
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

    /// Whether it takes any number of arguments, at least one; all others take one.
    fn is_variadic(self) -> bool {
        matches!(self, Self::Min | Self::Max)
    }

    /// Its value with at least one argument.
    fn applied(self, arguments: &[Number], of: &dyn Fn(usize) -> Option<f64>) -> Result<f64, Undefined> {
        let mut values = arguments.iter().map(|argument| argument.value(of));
        let first = values.next().unwrap_or(Ok(0.0))?;
        match self {
            Self::Min => values.try_fold(first, |min, value| Ok(min.min(value?))),
            Self::Max => values.try_fold(first, |max, value| Ok(max.max(value?))),
            Self::Abs => Ok(first.abs()),
            Self::Ceil => Ok(first.ceil()),
            Self::Floor => Ok(first.floor()),
            Self::Round => Ok(first.round()),
            Self::Sqrt if first < 0.0 => Err(Undefined::RootOfNegative),
            Self::Sqrt => Ok(first.sqrt()),
        }
    }
}

/// Formulas are equal when their texts are.
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
