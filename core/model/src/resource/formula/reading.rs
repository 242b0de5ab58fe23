//! Parses the text of a formula, with the tokenizer and the parser of `minijinja`.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, CompareOpKind, Expr, Filter, Test, UnaryOpKind};
use minijinja::machinery::{Span, Token, parse_expr, tokenize};
use minijinja::value::{Value, ValueKind};

use super::{
    Comparison, Condition, FORMULA_LEN_MAX, FORMULA_NESTING_MAX, FORMULA_TOKENS_MAX, FormulaError, Function,
    Number, Operator,
};

/// The function that names a metric whose name is not an identifier, as in `metric("queue-length")`.
const QUOTED: &str = "metric";

/// The names in `text`, each once, and its expression.
pub(super) fn parse(text: &str) -> Result<(Vec<Box<str>>, Number), FormulaError> {
    if text.len() > FORMULA_LEN_MAX {
        let why = format!("a formula has at most {FORMULA_LEN_MAX} bytes, not {}", text.len());
        return Err(FormulaError { at: None, why });
    }
    check_size(text)?;
    let tree = parse_expr(text).map_err(|error| malformed(text, &error))?;
    let mut parser = Parser { text, names: Vec::new() };
    let body = parser.number(&tree)?;
    Ok((parser.names, body))
}

/// Rejects formulas that are too long or too deeply nested for the parser, which recurses for each unary operator and parenthesis.
fn check_size(text: &str) -> Result<(), FormulaError> {
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
            return Err(error_at(text, span, why));
        }
        if depth > FORMULA_NESTING_MAX {
            let why = format!("more than {FORMULA_NESTING_MAX} parentheses are nested");
            return Err(error_at(text, span, why));
        }
    }
    Ok(())
}

fn malformed(text: &str, error: &minijinja::Error) -> FormulaError {
    let why = error.detail().unwrap_or("it cannot be read").to_owned();
    FormulaError { at: error.range().map(|range| position(text, range.start)), why }
}

fn error_at(text: &str, span: Span, why: impl Into<String>) -> FormulaError {
    let at = usize::try_from(span.start_offset).unwrap_or(usize::MAX);
    FormulaError { at: Some(position(text, at)), why: why.into() }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

struct Parser<'t> {
    text: &'t str,
    names: Vec<Box<str>>,
}

impl Parser<'_> {
    fn error_at<T>(&self, at: Span, why: impl Into<String>) -> Result<T, FormulaError> {
        Err(error_at(self.text, at, why))
    }

    fn number(&mut self, expr: &Expr<'_>) -> Result<Number, FormulaError> {
        match expr {
            Expr::Var(name) => Ok(Number::Named(self.index_of(name.id))),
            Expr::Const(constant) => self.constant(&constant.value, expr.span()),
            Expr::UnaryOp(unary) => match unary.op {
                UnaryOpKind::Neg => Ok(Number::Negated(Box::new(self.number(&unary.expr)?))),
                UnaryOpKind::Not => self.error_at(expr.span(), "a number is expected here, not a condition"),
            },
            Expr::BinOp(binary) => {
                let operator = match binary.op {
                    BinOpKind::Add => Operator::Plus,
                    BinOpKind::Sub => Operator::Minus,
                    BinOpKind::Mul => Operator::Times,
                    BinOpKind::Div => Operator::Over,
                    BinOpKind::FloorDiv => {
                        return self.error_at(expr.span(), "`//` is not supported; write floor(a / b)");
                    }
                    BinOpKind::Rem => return self.error_at(expr.span(), "`%` is not supported"),
                    BinOpKind::Pow => {
                        return self.error_at(expr.span(), "`**` is not supported; write a * a");
                    }
                    BinOpKind::Concat => {
                        return self.error_at(expr.span(), "`~` is not supported: formulas have no strings");
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
                        let why = "a number is expected here, not a condition; write `1 if ... else 0` to convert it";
                        return self.error_at(expr.span(), why);
                    }
                };
                let sides = (self.number(&binary.left)?, self.number(&binary.right)?);
                Ok(Number::Arithmetic(operator, Box::new(sides)))
            }
            Expr::IfExpr(choice) => {
                let Some(otherwise) = &choice.false_expr else {
                    return self.error_at(
                        expr.span(),
                        "the value otherwise is missing: write `a if condition else b`",
                    );
                };
                let condition = self.condition(&choice.test_expr)?;
                let (yes, no) = (self.number(&choice.true_expr)?, self.number(otherwise)?);
                Ok(Number::Choice(Box::new((condition, yes, no))))
            }
            Expr::Call(call) => self.call(call, expr.span()),
            Expr::Filter(filter) => self.filter(filter, expr.span()),
            Expr::Compare(_) | Expr::Test(_) => {
                let why = "a number is expected here, not a condition; write `1 if ... else 0` to convert it";
                self.error_at(expr.span(), why)
            }
            Expr::GetAttr(_) => {
                let why = "a name with a dot in it is written as metric(\"a.b\")";
                self.error_at(expr.span(), why)
            }
            Expr::Slice(_) | Expr::GetItem(_) | Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => {
                self.error_at(expr.span(), format!("a number is expected here, not a {}", expr.description()))
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
                    | BinOpKind::In => return self.error_at(expr.span(), CONDITION_EXPECTED),
                };
                let (left, right) = (self.number(&binary.left)?, self.number(&binary.right)?);
                Ok(Condition::Compared(Box::new(left), Box::new([(comparison, right)])))
            }
            Expr::Compare(chain) => self.chain(&chain.expr, &chain.ops, expr.span()),
            Expr::Test(test) => self.test(test, expr.span()),
            _ => self.error_at(expr.span(), CONDITION_EXPECTED),
        }
    }

    fn chain(
        &mut self,
        first: &Expr<'_>,
        rest: &[minijinja::machinery::ast::CompareOp<'_>],
        at: Span,
    ) -> Result<Condition, FormulaError> {
        let first = self.number(first)?;
        let mut compared = Vec::with_capacity(rest.len());
        for next in rest {
            let comparison = match next.op {
                CompareOpKind::Eq => Comparison::Equal,
                CompareOpKind::Ne => Comparison::NotEqual,
                CompareOpKind::Lt => Comparison::Less,
                CompareOpKind::Lte => Comparison::AtMost,
                CompareOpKind::Gt => Comparison::Greater,
                CompareOpKind::Gte => Comparison::AtLeast,
                CompareOpKind::In | CompareOpKind::NotIn => return self.error_at(at, CONDITION_EXPECTED),
            };
            compared.push((comparison, self.number(&next.expr)?));
        }
        Ok(Condition::Compared(Box::new(first), compared.into()))
    }

    fn test(&mut self, test: &Test<'_>, at: Span) -> Result<Condition, FormulaError> {
        let Number::Named(name) = self.number(&test.expr)? else {
            return self.error_at(at, "only a metric can be tested for being defined");
        };
        match test.name {
            "defined" => Ok(Condition::Defined(name)),
            "undefined" => Ok(Condition::Not(Box::new(Condition::Defined(name)))),
            _ => self.error_at(at, "a metric can only be tested for being defined or undefined"),
        }
    }

    fn constant(&self, value: &Value, at: Span) -> Result<Number, FormulaError> {
        match (value.kind(), f64::try_from(value.clone())) {
            (ValueKind::Number, Ok(number)) if number.is_finite() => Ok(Number::Constant(number)),
            (ValueKind::Number, _) => self.error_at(at, "this number is too large"),
            (ValueKind::Bool, _) => self.error_at(at, "a number is expected here, not a condition"),
            (ValueKind::String, _) => self.error_at(
                at,
                "a number is expected here, not a string; write metric(\"...\") for a metric of that name",
            ),
            (kind, _) => self.error_at(at, format!("a number is expected here, not {kind}")),
        }
    }

    fn call(&mut self, call: &Call<'_>, at: Span) -> Result<Number, FormulaError> {
        let Expr::Var(name) = &call.expr else {
            return self.error_at(at, "only a function can be called");
        };
        let name = name.id;
        if name == QUOTED {
            return self.quoted(&call.args, at);
        }
        let Some((_, function)) = Function::ALL.into_iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = Function::ALL.iter().map(|(known, _)| *known).collect();
            return self.error_at(
                at,
                format!("there is no function {name}; the functions are {}", known.join(", ")),
            );
        };
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            let CallArg::Pos(argument) = argument else {
                return self.error_at(at, format!("the arguments of {name} are positional"));
            };
            arguments.push(self.number(argument)?);
        }
        match arguments.len() {
            0 => self.error_at(at, format!("{name} needs at least one number")),
            2.. if !function.is_variadic() => self.error_at(at, format!("{name} takes one number")),
            _ => Ok(Number::Applied(function, arguments.into())),
        }
    }

    fn quoted(&mut self, arguments: &[CallArg<'_>], at: Span) -> Result<Number, FormulaError> {
        if let [CallArg::Pos(Expr::Const(constant))] = arguments
            && let Some(name) = constant.value.as_str().filter(|name| !name.is_empty())
        {
            return Ok(Number::Named(self.index_of(name)));
        }
        self.error_at(at, "metric takes the name of a metric, in quotes")
    }

    fn filter(&mut self, filter: &Filter<'_>, at: Span) -> Result<Number, FormulaError> {
        match (&filter.expr, filter.name, filter.args.as_slice()) {
            (Some(number), "default" | "d", [CallArg::Pos(default)]) => {
                let number = self.number(number)?;
                if matches!(number, Number::Constant(_)) {
                    let why = "default applies to the operand directly before it, and a constant is never missing; \
                               write (a / 60) | default(1)";
                    return self.error_at(at, why);
                }
                Ok(Number::Default(Box::new((number, self.number(default)?))))
            }
            (_, "default" | "d", _) => {
                self.error_at(at, "default takes one number: the one to use when the value is missing")
            }
            (_, name, _) if Function::ALL.iter().any(|(known, _)| *known == name) => {
                self.error_at(at, format!("{name} is a function: write {name}(...)"))
            }
            (_, name, _) => {
                self.error_at(at, format!("there is no filter {name}; the only filter is default"))
            }
        }
    }

    fn index_of(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }
}

const CONDITION_EXPECTED: &str = "a condition is expected here: compare two numbers, as in cpu > 80";
