//! The environment of a replica, and the expansion of `$(NAME)` in declarations.

use std::collections::BTreeMap;

/// The longest result of one expansion, in bytes: the kernel's limit for one argument (MAX_ARG_STRLEN).
const EXPANDED_LEN_MAX: usize = 128 * 1024;

/// The result of an expansion is longer than exec allows.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is longer than {EXPANDED_LEN_MAX} bytes when its variables are expanded")]
pub(crate) struct TooLong {
    text: String,
}

/// Replaces `$(NAME)` by the value of NAME, as Kubernetes does.
///
/// `$$` is one `$` and begins no reference; a reference to an unknown name is kept.
/// Source: kubernetes/third_party/forked/golang/expansion/expand.go.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, TooLong> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|open| open.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => {
                    expanded.push_str("$(");
                    expanded.push_str(name);
                    expanded.push(')');
                }
            }
            after
        } else {
            expanded.push('$');
            after
        };
        if expanded.len() > EXPANDED_LEN_MAX {
            return Err(TooLong { text: text.chars().take(40).collect() });
        }
    }
    expanded.push_str(rest);
    if expanded.len() > EXPANDED_LEN_MAX {
        return Err(TooLong { text: text.chars().take(40).collect() });
    }
    Ok(expanded)
}

/// Adds declared variables to the given ones; a declared value may refer to given variables and to those declared before it in
/// the order of their names.
pub(crate) fn declare(
    given: BTreeMap<String, String>,
    declared: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, TooLong> {
    let mut variables = given;
    for (name, value) in declared {
        let value = expand(value, &variables)?;
        variables.insert(name.clone(), value);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("A", "1"), ("PORT_HTTP", "8080"), ("EMPTY", ""), ("REF", "$(A)")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn references_expand_as_kubernetes_documents_them() {
        for (text, expected) in [
            ("$(A)", "1"),
            ("--port=$(PORT_HTTP)", "--port=8080"),
            ("$(A)$(A)-$(EMPTY).", "11-."),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("$(REF)", "$(A)"),
        ] {
            assert_eq!(expand(text, &variables()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_declared_variable_refers_only_to_those_before_it() {
        let declared =
            [("B", "$(A)b"), ("C", "$(B)c$(D)"), ("D", "d")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let all = declare(variables(), &declared.into()).unwrap();
        assert_eq!(all["C"], "1bc$(D)");
    }

    #[test]
    fn exponential_expansion_is_refused() {
        let declared: BTreeMap<String, String> =
            (0..40).map(|i| (format!("V{i:02}"), format!("$(V{:02})$(V{:02})x", i - 1, i - 1))).collect();
        assert!(declare(BTreeMap::new(), &declared).is_err());
    }

    proptest! {
        #[test]
        fn text_without_dollar_is_kept(text in "[^$]{0,50}") {
            prop_assert_eq!(expand(&text, &variables()).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[$()A-C]{0,40}|\\PC{0,20}") {
            expand(&text, &variables()).unwrap();
        }
    }
}
