//! Parses resources from YAML or JSON, with located errors, and writes them back.
//!
//! A run finds all errors in all its files: invalid YAML, fields of a wrong form, and resources that contradict each other. Each error has
//! the file, line and column, path, what was expected, and the nearest known name. The form of each kind is its JSON Schema, generated
//! from the types in `model::resource`, so that the errors, the schema that users see, and the types cannot disagree. Nothing is
//! defaulted from the environment or applied here.
//!
//! ```
//! let read = manifest::parse("shop.yaml", "apiVersion: homeostat/v1\nkind: Servise\n");
//! let text = read.diagnostics[0].to_string();
//! assert_eq!(text, "shop.yaml:2:7: kind: \"Servise\" is not a kind; did you mean Service?");
//! ```

mod diagnostic;
mod diff;
mod document;
mod files;
mod form;
mod kinds;
mod paths;
mod reference;
mod scalar;
mod schema;
mod tree;
mod write;

pub use self::diagnostic::{Colour, DIAGNOSTICS_MAX, Diagnostic, Source};
pub use self::diff::{Change, diff};
pub use self::document::{Document, Manifests, PathError, parse};
pub use self::files::{FILE_BYTES_MAX, FILES_MAX, Input, RUN_BYTES_MAX, read};
pub use self::reference::reference;
pub use self::write::{WriteError, to_json, to_yaml, to_yaml_stream};
