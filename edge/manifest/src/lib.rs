//! Resources as people write them: YAML or JSON in, resources or located errors out, and back again.
//!
//! A run finds everything that is wrong with all its files: text that is no YAML, fields of a wrong form, and resources that
//! contradict each other. Each error says file, line, column and path, what was expected, and the nearest known name. The form of
//! each kind is its JSON Schema, made from the types in `model::resource`, so that the errors, the schema that users see, and the
//! types cannot disagree. Nothing is defaulted from the environment or applied here.
//!
//! ```
//! let read = manifest::parse("shop.yaml", "apiVersion: homeostat/v1\nkind: Servise\n");
//! let text = read.diagnostics[0].to_string();
//! assert_eq!(text, "shop.yaml:2:7: kind: \"Servise\" is no kind; did you mean Service?");
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
