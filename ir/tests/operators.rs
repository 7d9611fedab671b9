//! What holds of every operator: its file, its page, its constraints' tests, its examples, its place in `OPS.md`.
//!
//! A failure says what to add. What does not hold yet is listed in `operators.txt` beside this file, which may only
//! shrink: a line that is no longer needed is a failure too. `BLESS=1 cargo test -p egret-ir --test operators` takes such
//! lines out and writes `OPS.md`; it adds none.

use egret_ir::OpDef;
use egret_ir::ops::OPS;
use egret_ir::support::{self, Support};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn bless() -> bool {
    env::var_os("BLESS").is_some()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn file(def: &OpDef) -> PathBuf {
    root().join("src/ops").join(def.mnemonic().replace('.', "/")).with_extension("rs")
}

/// The lines of `operators.txt` of one kind: `kind subject`.
fn listed(kind: &str) -> BTreeSet<String> {
    let text = read(&root().join("tests/operators.txt"));
    let lines = text.lines().filter_map(|l| l.split_once(' '));
    lines.filter(|(k, _)| *k == kind).map(|(_, subject)| subject.to_owned()).collect()
}

/// Fails for subjects that are not listed, and for listed ones that are fine by now.
fn compare(kind: &str, found: BTreeSet<String>, what_to_do: &str) {
    let listed = listed(kind);
    let new: Vec<&String> = found.difference(&listed).collect();
    assert!(new.is_empty(), "{what_to_do}:\n  {}", new.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("\n  "));
    let stale: Vec<&String> = listed.difference(&found).collect();
    if stale.is_empty() {
        return;
    }
    let path = root().join("tests/operators.txt");
    let is_stale = |line: &str| line.split_once(' ').is_some_and(|(k, s)| k == kind && stale.iter().any(|x| *x == s));
    assert!(bless(), "good: {stale:?} need no `{kind}` line in {} any more; BLESS=1 takes them out", path.display());
    let kept: Vec<String> = read(&path).lines().filter(|l| !is_stale(l)).map(|l| format!("{l}\n")).collect();
    fs::write(&path, kept.concat()).expect("the repository is writable");
}

/// Files under a folder, sorted.
fn sources(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        match path.is_dir() {
            true => out.extend(sources(&path, extension)),
            false if path.extension().is_some_and(|e| e == extension) => out.push(path),
            false => {}
        }
    }
    out.sort();
    out
}

/// Text attributes that hold any text.
const FREE: &[&str] = &["default_string", "delimiter", "equation", "locale", "pattern", "value_string"];

#[test]
fn texts_with_a_list_of_values_document_it() {
    let mut wrong = Vec::new();
    for (def, doc) in OPS.iter().flat_map(|def| def.attrs.iter().map(move |doc| (def, doc))) {
        let words: Vec<&str> = doc.words().collect();
        let default = doc.default.trim_matches('"');
        let listed = words.len() > 1 && (default.is_empty() || words.contains(&default));
        if doc.wanted == "a string" && !listed && !FREE.contains(&doc.name) {
            wrong.push(format!("{} {}: {words:?}, default {:?}", def.name, doc.name, doc.default));
        }
    }
    assert!(wrong.is_empty(), "values go between backquotes in the attribute's documentation:\n{}", wrong.join("\n"));
}

#[test]
fn every_operators_file_is_registered() {
    let registered: BTreeSet<PathBuf> = OPS.iter().map(|d| file(d)).collect();
    for def in OPS {
        assert!(file(def).is_file(), "{} is registered and {} is not there", def.name, file(def).display());
    }
    for path in sources(&root().join("src/ops"), "rs") {
        let declares = read(&path).lines().any(|l| l.starts_with("op! {"));
        assert!(
            !declares || registered.contains(&path),
            "{} declares an operator: add `&{}::DEF` to OPS in ops/mod.rs",
            path.display(),
            path.file_stem().unwrap_or_default().to_string_lossy()
        );
    }
}

/// The module's page.
fn page(source: &str) -> String {
    source.lines().map_while(|l| l.strip_prefix("//!")).map(|l| format!("{}\n", l.trim_start())).collect()
}

/// Numbers of the constraints that a page lists.
fn constraints(page: &str) -> Vec<usize> {
    let label = |l: &str| l.strip_prefix("- **C")?.split_once("**")?.0.parse().ok();
    page.lines().filter_map(label).collect()
}

#[test]
fn every_operator_has_a_page_with_formula_constraints_and_opsets() {
    let (mut no_formula, mut no_constraints) = (BTreeSet::new(), BTreeSet::new());
    for def in OPS {
        let page = page(&read(&file(def)));
        let path = file(def);
        let first = page.lines().next().unwrap_or_default();
        assert!(!first.is_empty(), "{} begins with no `//!` page", path.display());
        if !first.contains('`') {
            no_formula.insert(def.mnemonic());
        }
        let numbers = constraints(&page);
        let ordered = numbers.iter().enumerate().all(|(i, n)| *n == i + 1);
        assert!(ordered, "{}: constraints are numbered C1, C2… in order, not {numbers:?}", path.display());
        if numbers.is_empty() && !page.contains("C1") {
            no_constraints.insert(def.mnemonic());
        }
        let says_opsets = page.contains("pset") || def.since.len() == 1;
        assert!(says_opsets, "{}: the page does not name the opsets", path.display());
    }
    compare("no_formula", no_formula, "the first line of these operators' pages says no formula, `y = f(x)`");
    compare("no_constraints", no_constraints, "these operators' pages list no constraints, `- **C1** …`");
}

#[test]
fn every_constraint_has_a_negative_test() {
    let mut untested = BTreeSet::new();
    let folder = root().join("../tests/files");
    let texts: String = sources(&folder, "gir").iter().map(|p| read(p)).collect();
    for def in OPS {
        let source = read(&file(def));
        let tests = source.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests);
        for n in constraints(&page(&source)) {
            // By its label, or by the name of a test that calls a shared one.
            let label = |before: &str| {
                tests
                    .match_indices(&format!("{before}{n}"))
                    .any(|(at, m)| !tests[at + m.len()..].starts_with(|c: char| c.is_ascii_digit()))
            };
            let in_text = |name: &str| texts.lines().any(|l| l.ends_with(&format!("error: {name}.C{n}")));
            if !label(".C") && !label("\"C") && !label("_c") && !in_text(&def.mnemonic()) && !in_text(def.name) {
                untested.insert(format!("{}.C{n}", def.mnemonic()));
            }
        }
    }
    compare(
        "untested",
        untested,
        "these constraints have no test that breaks them; add one, `fn concat_c2_rejects_axis_past_rank`, that expects the \
         label \"Concat.C2\", or a line with `// error: concat.C2` in tests/files/verify",
    );
}

#[test]
fn every_operator_has_an_example_that_runs() {
    let found = OPS.iter().filter(|d| support::runs(d.examples).is_empty()).map(|d| d.mnemonic()).collect();
    compare(
        "no_example",
        found,
        "these operators have no example that is run; add `examples: EXAMPLES;` to `op!` and IR text with `// run:` \
         (tests/python/examples.py and the example `examples` of egret-ir make it from an ONNX case)",
    );
}

#[test]
fn every_operator_is_lowered_or_expanded_or_listed_as_host() {
    let host = |d: &&&'static OpDef| !support::runs(d.examples).is_empty() && Support::of(d).how() == "host";
    let found = OPS.iter().filter(host).map(|d| d.mnemonic()).collect();
    compare(
        "host",
        found,
        "these operators have neither `lower` nor `expand` for their examples; give them one, or list them as `host NAME` \
         in ir/tests/operators.txt",
    );
}

#[test]
fn the_table_of_operators_is_up_to_date() {
    let path = root().join("OPS.md");
    let wanted = support::markdown();
    if fs::read_to_string(&path).is_ok_and(|have| have == wanted) {
        return;
    }
    assert!(bless(), "ir/OPS.md is out of date: BLESS=1 cargo test -p egret-ir --test operators");
    fs::write(&path, wanted).expect("the repository is writable");
}
