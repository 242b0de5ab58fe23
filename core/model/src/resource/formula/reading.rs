//! From the text of a formula to its tree, over the tokens and the syntax tree of `minijinja`.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, CompareOpKind, Expr, Filter, Test, UnaryOpKind};
use minijinja::machinery::{Span, Token, parse_expr, tokenize};
use minijinja::value::{Value, ValueKind};

use super::{
    Comparison, Condition, FORMULA_LEN_MAX, FORMULA_NESTING_MAX, FORMULA_TOKENS_MAX, FormulaError, Function,
    Number, Operator,
};

/// The function that names a metric whose name is no word, as in `metric("queue-length")`.
const QUOTED: &str = "metric";

/// The names in `text`, each once, and what it computes from them.
pub(super) fn read(text: &str) -> Result<(Vec<Box<str>>, Number), FormulaError> {
    if text.len() > FORMULA_LEN_MAX {
        let why = format!("a formula has at most {FORMULA_LEN_MAX} bytes, not {}", text.len());
        return Err(FormulaError { at: None, why });
    }
    measure(text)?;
    let tree = parse_expr(text).map_err(|error| malformed(text, &error))?;
    let mut reader = Reader { text, names: Vec::new() };
    let body = reader.number(&tree)?;
    Ok((reader.names, body))
}

/// Refuses what is longer or deeper than the library can be given: it descends for each unary operator, and for each parenthesis.
fn measure(text: &str) -> Result<(), FormulaError> {
    let mut depth = 0_usize;
    for (nth, token) in tokenize(text, true, Default::default()).enumerate() {
        let (token, span) = token.map_err(|error| malformed(text, &error))?;
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.saturating_sub(1),
            _ => {}
        }
        if nth >= FORMULA_TOKENS_MAX {
            let why =
                format!("it has more than {FORMULA_TOKENS_MAX} names, numbers, operators and parentheses");
            return Err(wrong(text, span, why));
        }
        if depth > FORMULA_NESTING_MAX {
            let why = format!("more than {FORMULA_NESTING_MAX} parentheses lie within each other");
            return Err(wrong(text, span, why));
        }
    }
    Ok(())
}

fn malformed(text: &str, error: &minijinja::Error) -> FormulaError {
    let why = error.detail().unwrap_or("it cannot be read").to_owned();
    FormulaError { at: error.range().map(|range| position(text, range.start)), why }
}

fn wrong(text: &str, span: Span, why: impl Into<String>) -> FormulaError {
    let at = usize::try_from(span.start_offset).unwrap_or(usize::MAX);
    FormulaError { at: Some(position(text, at)), why: why.into() }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

struct Reader<'t> {
    text: &'t str,
    names: Vec<Box<str>>,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: Span, why: impl Into<String>) -> Result<T, FormulaError> {
        Err(wrong(self.text, at, why))
    }

    fn number(&mut self, expr: &Expr<'_>) -> Result<Number, FormulaError> {
        match expr {
            Expr::Var(name) => Ok(Number::Named(self.place_of(name.id))),
            Expr::Const(constant) => self.constant(&constant.value, expr.span()),
            Expr::UnaryOp(unary) => match unary.op {
                UnaryOpKind::Neg => Ok(Number::Negated(Box::new(self.number(&unary.expr)?))),
                UnaryOpKind::Not => self.wrong(expr.span(), "a number is meant here, not a condition"),
            },
            Expr::BinOp(binary) => {
                let operator = match binary.op {
                    BinOpKind::Add => Operator::Plus,
                    BinOpKind::Sub => Operator::Minus,
                    BinOpKind::Mul => Operator::Times,
                    BinOpKind::Div => Operator::Over,
                    BinOpKind::FloorDiv => {
                        return self.wrong(expr.span(), "there is no `//` here; write floor(a / b)");
                    }
                    BinOpKind::Rem => return self.wrong(expr.span(), "there is no `%` here"),
                    BinOpKind::Pow => return self.wrong(expr.span(), "there is no `**` here; write a * a"),
                    BinOpKind::Concat => {
                        return self.wrong(expr.span(), "there is no text here that `~` could join");
                    }
                    BinOpKind::Eq
                    | BinOpKind::Ne
                    | BinOpKind::Lt
                    | BinOpKind::Lte
                    | BinOpKind::Gt
                    | BinOpKind::Gte
                    | BinOpKind::ScAnd
                    | BinOpKind::ScOr
                    | BinOpKind::In => {
                        let why = "a number is meant here, not a condition; write `1 if ... else 0` to make one of it";
                        return self.wrong(expr.span(), why);
                    }
                };
                let sides = (self.number(&binary.left)?, self.number(&binary.right)?);
                Ok(Number::Arithmetic(operator, Box::new(sides)))
            }
            Expr::IfExpr(choice) => {
                let Some(otherwise) = &choice.false_expr else {
                    return self
                        .wrong(expr.span(), "say what the number is otherwise: `a if condition else b`");
                };
                let condition = self.condition(&choice.test_expr)?;
                let (yes, no) = (self.number(&choice.true_expr)?, self.number(otherwise)?);
                Ok(Number::Choice(Box::new((condition, yes, no))))
            }
            Expr::Call(call) => self.call(call, expr.span()),
            Expr::Filter(filter) => self.filter(filter, expr.span()),
            Expr::Compare(_) | Expr::Test(_) => {
                let why =
                    "a number is meant here, not a condition; write `1 if ... else 0` to make one of it";
                self.wrong(expr.span(), why)
            }
            Expr::GetAttr(_) => {
                let why = "a name with a dot in it is written as metric(\"a.b\")";
                self.wrong(expr.span(), why)
            }
            Expr::Slice(_) | Expr::GetItem(_) | Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => {
                self.wrong(expr.span(), format!("a number is meant here, not a {}", expr.description()))
            }
        }
    }

    fn condition(&mut self, expr: &Expr<'_>) -> Result<Condition, FormulaError> {
        match expr {
            Expr::Const(constant) if constant.value.kind() == ValueKind::Bool => {
                Ok(Condition::Constant(constant.value.is_true()))
            }
            Expr::UnaryOp(unary) if matches!(unary.op, UnaryOpKind::Not) => {
                Ok(Condition::Not(Box::new(self.condition(&unary.expr)?)))
            }
            Expr::BinOp(binary) => {
                let comparison = match binary.op {
                    BinOpKind::ScAnd => {
                        let sides = (self.condition(&binary.left)?, self.condition(&binary.right)?);
                        return Ok(Condition::Both(Box::new(sides)));
                    }
                    BinOpKind::ScOr => {
                        let sides = (self.condition(&binary.left)?, self.condition(&binary.right)?);
                        return Ok(Condition::Either(Box::new(sides)));
                    }
                    BinOpKind::Eq => Comparison::Equal,
                    BinOpKind::Ne => Comparison::NotEqual,
                    BinOpKind::Lt => Comparison::Less,
                    BinOpKind::Lte => Comparison::AtMost,
                    BinOpKind::Gt => Comparison::Greater,
                    BinOpKind::Gte => Comparison::AtLeast,
                    BinOpKind::Add
                    | BinOpKind::Sub
                    | BinOpKind::Mul
                    | BinOpKind::Div
                    | BinOpKind::FloorDiv
                    | BinOpKind::Rem
                    | BinOpKind::Pow
                    | BinOpKind::Concat
                    | BinOpKind::In => return self.wrong(expr.span(), NO_CONDITION),
                };
                let sides = (self.number(&binary.left)?, self.number(&binary.right)?);
                Ok(Condition::Compared(comparison, Box::new(sides)))
            }
            Expr::Compare(chain) => self.chain(&chain.expr, &chain.ops, expr.span()),
            Expr::Test(test) => self.test(test, expr.span()),
            _ => self.wrong(expr.span(), NO_CONDITION),
        }
    }

    /// `a < b <= c` is `a < b and b <= c`.
    fn chain(
        &mut self,
        first: &Expr<'_>,
        rest: &[minijinja::machinery::ast::CompareOp<'_>],
        at: Span,
    ) -> Result<Condition, FormulaError> {
        let mut left = first;
        let mut all = None;
        for compared in rest {
            let comparison = match compared.op {
                CompareOpKind::Eq => Comparison::Equal,
                CompareOpKind::Ne => Comparison::NotEqual,
                CompareOpKind::Lt => Comparison::Less,
                CompareOpKind::Lte => Comparison::AtMost,
                CompareOpKind::Gt => Comparison::Greater,
                CompareOpKind::Gte => Comparison::AtLeast,
                CompareOpKind::In | CompareOpKind::NotIn => return self.wrong(at, NO_CONDITION),
            };
            let sides = (self.number(left)?, self.number(&compared.expr)?);
            let one = Condition::Compared(comparison, Box::new(sides));
            all = Some(match all {
                None => one,
                Some(before) => Condition::Both(Box::new((before, one))),
            });
            left = &compared.expr;
        }
        all.map_or_else(|| self.wrong(at, NO_CONDITION), Ok)
    }

    fn test(&mut self, test: &Test<'_>, at: Span) -> Result<Condition, FormulaError> {
        let Number::Named(name) = self.number(&test.expr)? else {
            return self.wrong(at, "only of a metric can be asked whether it is defined");
        };
        match test.name {
            "defined" => Ok(Condition::Defined(name)),
            "undefined" => Ok(Condition::Not(Box::new(Condition::Defined(name)))),
            _ => self.wrong(at, "a metric is defined or undefined, and nothing else can be asked of it"),
        }
    }

    fn constant(&self, value: &Value, at: Span) -> Result<Number, FormulaError> {
        match (value.kind(), f64::try_from(value.clone())) {
            (ValueKind::Number, Ok(number)) if number.is_finite() => Ok(Number::Constant(number)),
            (ValueKind::Number, _) => self.wrong(at, "this number is too large"),
            (ValueKind::Bool, _) => self.wrong(at, "a number is meant here, not a condition"),
            (ValueKind::String, _) => self.wrong(
                at,
                "a number is meant here, not a text; write metric(\"...\") for a metric of that name",
            ),
            (kind, _) => self.wrong(at, format!("a number is meant here, not {kind}")),
        }
    }

    fn call(&mut self, call: &Call<'_>, at: Span) -> Result<Number, FormulaError> {
        let Expr::Var(name) = &call.expr else {
            return self.wrong(at, "only a function can be called");
        };
        let name = name.id;
        if name == QUOTED {
            return self.quoted(&call.args, at);
        }
        let Some((_, function)) = Function::ALL.into_iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = Function::ALL.iter().map(|(known, _)| *known).collect();
            return self.wrong(at, format!("there is no function {name}; there are {}", known.join(", ")));
        };
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            let CallArg::Pos(argument) = argument else {
                return self.wrong(at, format!("the arguments of {name} have no names"));
            };
            arguments.push(self.number(argument)?);
        }
        match arguments.len() {
            0 => self.wrong(at, format!("{name} of nothing is no number: give it something")),
            2.. if !function.is_of_many() => self.wrong(at, format!("{name} takes one number")),
            _ => Ok(Number::Applied(function, arguments.into())),
        }
    }

    fn quoted(&mut self, arguments: &[CallArg<'_>], at: Span) -> Result<Number, FormulaError> {
        if let [CallArg::Pos(Expr::Const(constant))] = arguments
            && let Some(name) = constant.value.as_str().filter(|name| !name.is_empty())
        {
            return Ok(Number::Named(self.place_of(name)));
        }
        self.wrong(at, "metric takes the name of one, in quotes")
    }

    fn filter(&mut self, filter: &Filter<'_>, at: Span) -> Result<Number, FormulaError> {
        match (&filter.expr, filter.name, filter.args.as_slice()) {
            (Some(number), "default" | "d", [CallArg::Pos(instead)]) => {
                let number = self.number(number)?;
                if matches!(number, Number::Constant(_)) {
                    let why = "a number as such is never missing, and default belongs to what stands right before it; \
                               write (a / 60) | default(1) for a whole";
                    return self.wrong(at, why);
                }
                Ok(Number::Default(Box::new((number, self.number(instead)?))))
            }
            (_, "default" | "d", _) => {
                self.wrong(at, "default takes one number: that which stands in for what is missing")
            }
            (_, name, _) if Function::ALL.iter().any(|(known, _)| *known == name) => {
                self.wrong(at, format!("{name} is a function: write {name}(...)"))
            }
            (_, name, _) => self.wrong(at, format!("there is no filter {name}; there is default")),
        }
    }

    fn place_of(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }
}

const NO_CONDITION: &str = "a condition is meant here: compare two numbers, as in cpu > 80";
