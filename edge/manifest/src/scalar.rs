//! The type of a plain scalar where the form does not define it: YAML 1.2.2's core schema, section 10.3.2.

use serde_json::{Number, Value};

/// The value of `text`, written without quotes.
///
/// A number that JSON cannot represent (`.inf`, `.nan`, integers past 64 bits) stays a text.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number => integer(number).or_else(|| float(number)).map_or_else(|| text.into(), Value::Number),
    }
}

/// The whole number that `text` writes, in decimal, as `0x1f` or as `0o17`.
pub(crate) fn integer(text: &str) -> Option<Number> {
    let (radix, digits) = match text.get(..2) {
        Some("0x") => (16, &text[2..]),
        Some("0o") => (8, &text[2..]),
        Some(_) | None => (10, text),
    };
    if radix != 10 && digits.starts_with(['+', '-']) {
        return None;
    }
    let signed = i64::from_str_radix(digits, radix).ok().map(Number::from);
    signed.or_else(|| u64::from_str_radix(digits, radix).ok().map(Number::from))
}

fn float(text: &str) -> Option<Number> {
    // Rust accepts more than YAML: `inf`, `nan`, `infinity`.
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse::<f64>().ok().filter(|_| is_number).and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("True", json!(true)),
            ("no", json!("no")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("12e", json!("12e")),
            ("inf", json!("inf")),
            (".inf", json!(".inf")),
            ("0x-1", json!("0x-1")),
            ("1_000", json!("1_000")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
