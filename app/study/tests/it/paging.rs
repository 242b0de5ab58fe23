//! The page: whole in itself, and nothing in it is taken for what it is not.

use study::{Summary, page};

use crate::comparing::{MEASURE, all, compared, evenings, setting};

#[test]
fn the_page_is_self_contained_and_names_the_best_policy() {
    let findings = compared(&evenings(), &setting(), &all()).unwrap();
    let summary = Summary::of(&findings, MEASURE, Vec::new());
    let page = page(&[(findings, summary.clone())], MEASURE);
    for elsewhere in ["http:", "https:", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(
        page.contains(&summary.verdict)
            && page.contains("<svg")
            && page.contains("prefers-color-scheme: dark")
    );
    for policy in &summary.policies {
        assert!(page.contains(&format!("<b>{}</b>", policy.name)), "{}", policy.name);
    }
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert!(!page.contains("NaN") && !page.contains("inf"), "no number is none");
}

#[test]
fn names_and_notes_are_escaped() {
    let findings = compared(&evenings(), &setting(), &all()[..2]).unwrap();
    let mut summary = Summary::of(&findings, MEASURE, vec!["<b onclick=x>".to_owned()]);
    summary.trace = "<img/src=x>&\"".to_owned();
    let page = page(&[(findings.clone(), summary.clone()), (findings, summary)], MEASURE);
    assert!(
        page.contains("&lt;img/src=x&gt;&amp;&quot;")
            && !page.contains("<img")
            && !page.contains("<b onclick")
    );
    assert!(page.contains("2 traces"));
}

#[test]
fn traces_with_one_row_or_without_load_are_drawn() {
    for text in ["0,600\n60,600\n", "0,0\n60,0\n", "0,1\n1,0\n"] {
        let given = study::Setting {
            capacity: study::CapacityRule::Given(fluid::Capacity::per_second(10.0).unwrap()),
            ..setting()
        };
        let findings = compared(text, &given, &all()).unwrap();
        let summary = Summary::of(&findings, MEASURE, Vec::new());
        let page = page(&[(findings, summary)], MEASURE);
        assert!(!page.contains("NaN") && page.contains("</html>"), "{text}");
    }
}
