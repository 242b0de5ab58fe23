use proptest::prelude::*;

use super::*;

/// The value of `text` where `a` is 6, `b` is 4, `queue-length` is 90, and nothing else is measured.
fn value(text: &str) -> Result<f64, Undefined> {
    let formula = Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let names: Vec<&str> = formula.names().collect();
    formula.value(&|place| match names[place] {
        "a" => Some(6.0),
        "b" => Some(4.0),
        "queue-length" => Some(90.0),
        _ => None,
    })
}

fn refused(text: &str) -> String {
    Formula::parse(text).expect_err(text).to_string()
}

#[test]
fn expressions_are_computed_with_the_usual_precedence() {
    for (text, expected) in [
        ("1 + 2 * 3 - 8 / 4", 5.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 3 - 2", 5.0),
        ("1 / 2", 0.5),
        ("-a + 10", 4.0),
        ("-2 * -3", 6.0),
        ("1.5e1 + 1_000", 1015.0),
        ("max(a, b) + min(a, b, 1)", 7.0),
        ("max(a, min(b, max(1, 2)))", 6.0),
        ("max(metric(\"queue-length\") / 30, a / 3)", 3.0),
        ("ceil(1.1) + floor(1.9) + round(2.5) + abs(-4) + sqrt(a + 3)", 13.0),
        ("a if a > b else b", 6.0),
        ("1 if a < b else 2 if a == 6 else 3", 2.0),
        ("1 if b < a <= 6 and not b != 4 else 0", 1.0),
        ("1 if 1 < b > 5 < gone else 0", 0.0),
        ("1 if a > 100 or b >= 4 else 0", 1.0),
        ("1 if true else 0", 1.0),
        ("a\n  + b", 10.0),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_missing_value_makes_the_result_undefined_unless_there_is_a_default() {
    assert_eq!(value("a + gone"), Err(Undefined::Missing(1)));
    assert_eq!(value("a + gone | default(3)"), Ok(9.0));
    assert_eq!(value("(b / gone) | default(a)"), Ok(6.0));
    assert_eq!(value("gone | default(lost)"), Err(Undefined::Missing(1)));
    assert_eq!(value("gone if a > 100 else b"), Ok(4.0), "a branch that is not taken misses nothing");
    assert_eq!(value("gone if gone is defined else b"), Ok(4.0));
    assert_eq!(value("1 if a is undefined or gone is undefined else 0"), Ok(1.0));
}

#[test]
fn each_number_of_nested_chains_of_comparisons_is_evaluated_once() {
    let text =
        (0..FORMULA_NESTING_MAX).fold("a".to_owned(), |inner, _| format!("(1 if 0 < {inner} < 9 else 0)"));
    let formula = Formula::parse(&text).unwrap();
    let reads = std::cell::Cell::new(0);
    let read = |_| {
        reads.set(reads.get() + 1);
        Some(6.0)
    };
    assert_eq!(formula.value(&read), Ok(1.0));
    assert_eq!(reads.get(), 1);
}

#[test]
fn results_that_are_not_finite_numbers_are_errors() {
    assert_eq!(value("a / (b - 4)"), Err(Undefined::DivisionByZero));
    assert_eq!(value("(a / 0) | default(1)"), Err(Undefined::DivisionByZero), "it was there, and wrong");
    assert_eq!(value("sqrt(b - a)"), Err(Undefined::RootOfNegative));
    assert_eq!(value("1e308 * a"), Err(Undefined::TooLarge));
    assert_eq!(value("1e308 * 10 - 1e308 * 10"), Err(Undefined::TooLarge));
    assert_eq!(value("max(1, 1e308 * 10)"), Err(Undefined::TooLarge));
}

#[test]
fn errors_name_their_position() {
    for (text, expected) in [
        ("", "at column 1 of the formula: unexpected end of input, expected expression"),
        ("a +", "at column 3 of the formula: unexpected end of input, expected expression"),
        ("a + $", "at column 5 of the formula: unexpected character"),
        ("a\n+ ü * $", "at line 2, column 3 of the formula: unexpected character"),
        ("a b", "at column 3 of the formula: unexpected input after expression"),
        ("max(a / 60", "at column 9 of the formula: unexpected end of input, expected `,`"),
        (
            "a > 3",
            "at column 1 of the formula: a number is expected here, not a condition; write `1 if ... else 0` to convert it",
        ),
        (
            "1 if a else 2",
            "at column 6 of the formula: a condition is expected here: compare two numbers, as in cpu > 80",
        ),
        (
            "1 if a + 2 else 2",
            "at column 6 of the formula: a condition is expected here: compare two numbers, as in cpu > 80",
        ),
        (
            "1 if a > 2",
            "at column 1 of the formula: the value otherwise is missing: write `a if condition else b`",
        ),
        (
            "2 * avg(a, b)",
            "at column 5 of the formula: there is no function avg; the functions are min, max, abs, ceil, floor, round, sqrt",
        ),
        ("abs(a, b)", "at column 1 of the formula: abs takes one number"),
        ("max()", "at column 1 of the formula: max needs at least one number"),
        ("max(x=1)", "at column 1 of the formula: the arguments of max are positional"),
        ("a ** 2", "at column 1 of the formula: `**` is not supported; write a * a"),
        ("a // 2", "at column 1 of the formula: `//` is not supported; write floor(a / b)"),
        (
            "a + 'x'",
            "at column 5 of the formula: a number is expected here, not a string; write metric(\"...\") for a metric of that name",
        ),
        ("a.b + 1", "at column 1 of the formula: a name with a dot in it is written as metric(\"a.b\")"),
        ("[a, b] | max", "at column 10 of the formula: max is a function: write max(...)"),
        ("a | int", "at column 5 of the formula: there is no filter int; the only filter is default"),
        ("metric(a)", "at column 1 of the formula: metric takes the name of a metric, in quotes"),
        ("a(1)(2)", "at column 2 of the formula: only a function can be called"),
        ("none", "at column 1 of the formula: a number is expected here, not none"),
        ("true", "at column 1 of the formula: a number is expected here, not a condition"),
        ("[1]", "at column 1 of the formula: a number is expected here, not a list literal"),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
    assert!(refused("a / 60 | default(1)").contains("write (a / 60) | default(1)"));
    assert!(refused("1e999").ends_with("this number is too large"));
}

#[test]
fn length_tokens_and_nesting_are_limited() {
    let nested = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Formula::parse(&nested(FORMULA_NESTING_MAX)).is_ok());
    assert!(refused(&nested(FORMULA_NESTING_MAX + 1)).contains("more than 16 parentheses"));
    assert!(refused(&"(".repeat(1000)).contains("more than 16 parentheses"));
    assert!(refused(&"1+".repeat(400)).contains("more than 256 names"));
    assert!(refused(&"-".repeat(1000)).contains("more than 256 names"));
    assert!(refused(&" ".repeat(2000)).contains("at most 1024 bytes"));
    let deepest = format!("{}1", "-".repeat(FORMULA_TOKENS_MAX - 1));
    assert_eq!(value(&deepest), Ok(-1.0));
}

#[test]
fn a_formula_is_serialized_as_written() {
    let text = "max(cpu / 60,\n queue | default(0))";
    let formula: Formula = serde_json::from_value(text.into()).unwrap();
    assert_eq!(serde_json::to_value(&formula).unwrap(), text);
    assert_eq!(formula.names().collect::<Vec<_>>(), ["cpu", "queue"]);
}

/// A formula as text, and what it comes to where `x` is 3 and `y` is 0.5.
fn sum() -> impl Strategy<Value = (String, f64)> {
    let leaf = prop_oneof![
        (0..1000_u32).prop_map(|n| (n.to_string(), f64::from(n))),
        Just(("x".to_owned(), 3.0)),
        Just(("y".to_owned(), 0.5)),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0..6_u8).prop_map(|((a, x), (b, y), how)| match how {
            0 => (format!("({a} + {b})"), x + y),
            1 => (format!("({a} - {b})"), x - y),
            2 => (format!("({a} * {b})"), x * y),
            3 => (format!("max({a}, {b})"), x.max(y)),
            4 => (format!("({a} if {a} > {b} else -{b})"), if x > y { x } else { -y }),
            _ => (format!("floor({a} / 7)"), (x / 7.0).floor()),
        })
    })
}

proptest! {
    #[test]
    fn the_value_is_that_of_the_same_computation_on_floats((text, expected) in sum()) {
        let formula = Formula::parse(&text).unwrap();
        let names: Vec<&str> = formula.names().collect();
        let found = formula.value(&|place| Some(if names[place] == "x" { 3.0 } else { 0.5 }));
        prop_assert_eq!(found, Ok(expected));
    }

    #[test]
    fn every_text_is_a_formula_or_an_error_with_a_reason(text in "[-+*/%()|<>=!.,'\"~ \\n{}\\[\\]a-e0-9é]{0,80}") {
        match Formula::parse(&text) {
            Ok(formula) => prop_assert!(formula.value(&|_| Some(1.0)).is_ok_and(f64::is_finite) || formula.value(&|_| Some(1.0)).is_err()),
            Err(error) => prop_assert!(!error.why.is_empty()),
        }
    }
}
