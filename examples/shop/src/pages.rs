//! The HTML of the pages.

use std::fmt::{self, Write as _};

use crate::catalogue::Product;

/// Text that is safe inside HTML, in elements and in quoted attributes.
#[derive(Debug, Clone, Copy)]
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Returns the front page.
pub(crate) fn front(shelf: &[&Product]) -> String {
    page("Shop", &format!("<h1>Shop</h1>\n{}", list(shelf)))
}

/// Returns the page of a product, with suggestions.
pub(crate) fn product(product: &Product, others: &[&Product]) -> String {
    let Product { id, name, price, .. } = product;
    let name = Escaped(name).to_string();
    let body = format!(
        "<h1>{name}</h1>\n<p>No. {id}, {price} EUR</p>\n<h2>You may also like</h2>\n{}",
        list(others)
    );
    page(&name, &body)
}

/// Returns the page with the results of a search.
pub(crate) fn search(query: &str, found: &[&Product]) -> String {
    let query = Escaped(query).to_string();
    let found = if found.is_empty() { "<p>Nothing was found.</p>".to_owned() } else { list(found) };
    page("Search", &format!("<h1>Search for “{query}”</h1>\n{found}"))
}

fn list(products: &[&Product]) -> String {
    let mut items = String::from("<ul>\n");
    for Product { id, name, price, .. } in products {
        let name = Escaped(name);
        writeln!(items, "<li><a href=\"/product/{id}\">{name}</a> {price} EUR</li>")
            .expect("writing to a String does not fail");
    }
    items.push_str("</ul>");
    items
}

/// Wraps a body and a title, both already HTML.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<form action=\"/search\"><input name=\"q\" placeholder=\"Search\"></form>\n{body}\n</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_query_can_open_a_tag(query in r#"[<>&"'a-z /=]{0,40}"#) {
            let with = search(&query, &[]);
            let without = search("", &[]);
            prop_assert_eq!(with.matches('<').count(), without.matches('<').count());
        }
    }
}
