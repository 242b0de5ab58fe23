//! Prints docs/resources.md.

fn main() {
    print!("{}", manifest::reference());
}
