//! Round trips and refusals of the text form.

use super::*;
use crate::attr::{AttrDoc, Attrs};
use crate::dim::Dim;
use crate::dtype::{Class, DType};
use crate::error::ErrorKind;
use crate::tensor::{AlignedBytes, Tensor};
use crate::types::{Shape, TensorType, Type};
use crate::value::{Key, Value};
use crate::{json, ops, verify};
use proptest::prelude::*;

fn failure(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn body_of(lines: &str) -> String {
    format!("graph @f(%x: f32[2], %y: f32[2]) -> (?) {{\n{lines}\n  return %x\n}}")
}

#[test]
fn a_text_as_it_is_printed_is_printed_the_same() {
    let text = r#"graph @"my graph"(%x: f32[n, 4], %"a b": f32[?2, ...] ) -> () { return }"#;
    assert!(failure(text).contains("line 1:"), "{}", failure(text));
    let text = r#"graph @"my graph"(%x: f32[n, 4], %"a b": f32[m, 4], %0: f32[...], %d: i64[1] = i64[1] [-1]) -> (f32[m + n, 4], ?) {
  %w = constant f32[2, 2] [[1.0, -0.0], [nan, -inf]]
  %1 = constant string[] "a\"\n"
  %2@"x" = constant bool[12] splat true
  %3 = concat %x, %"a b" {axis = 0} : f32[m + n, 4] @"join"
  _ = relu %3
  %4 = relu %0 : ?
  return %3, %4
}
"#;
    let g = parse(text).unwrap();
    assert_eq!(print(&g[0]), text);
    assert_eq!(canonical(&g[0]).unwrap(), g[0]);
}

#[test]
fn types_left_out_by_hand_stay_open_and_the_signature_fills_results() {
    let g = &parse("graph @f(%a: f32[2]) -> f32[2] { // comment\n %b = relu %a\n %c = relu %b return %c }").unwrap()[0];
    assert_eq!(g.ty(g.nodes[0].outputs[0].unwrap()), &Type::Unknown);
    assert_eq!(g.ty(g.outputs[0]).to_string(), "f32[2]");
}

#[test]
fn errors_say_line_column_and_line() {
    let cases = [
        ("  %0 = relo %x", "there is no operator `relo`\n  at line 2:8: %0 = relo %x"),
        ("  %0 = relu %z", "`%z` is not defined above\n  at line 2:13: %0 = relu %z"),
        ("  %0 = relu %0", "`%0` is not defined above\n  at line 2:13: %0 = relu %0"),
        ("  %x = relu %y", "this value is defined above already\n  at line 2:3: %x = relu %y"),
        ("  %0 = concat %x {}", "attribute `axis` (an integer) is missing\n  at line 2:8: %0 = concat %x {}"),
        ("  %0 = relu %x : f32[2], f32[2]", "2 types are given for 1 results"),
        ("  %0 = constant f32[2] [1.0]", "the elements have shape [1], the type says [2]"),
        ("  %0 = constant f32[2, 1] [[1.0], 2.0]", "rows of different shapes"),
        ("  %0 = constant i8[1] [128]", "`128` is no i8"),
        ("  %0 = constant f32[n] [1.0]", "a tensor must have extents that are numbers, this is f32[n]"),
        ("  %0 = constant f32[2000] extern(\"\", 0, 0x1)", "is not in this text"),
        ("  %0 = concat %x {axis = [1, 1.0]}", "a list holds values of one kind"),
        ("  %0 = concat %x {axis = 1, axis = 2}", "this attribute stands twice"),
        ("  %0 = relu %x : f32[n +]", "unexpected end"),
        ("  %0 = relu %x @\"a", "a text without an end"),
    ];
    for (line, wanted) in cases {
        let said = failure(&body_of(line));
        assert!(said.contains(wanted), "{line}: {said}");
        assert!(said.contains("line 2:"), "{line}: {said}");
    }
    assert!(failure("graph @f() -> (?) { return }").contains("0 values are returned, the signature has 1 types"));
    assert!(failure("graph @f(%x: f32[1]) -> f32[2] { return %x }").contains("the signature says f32[2]"));
    assert!(failure("graph @f() -> () { return }\ngraph @f() -> () { return }").contains("stands above already"));
}

#[test]
fn hostile_texts_are_refused_and_never_overflow() {
    let deep_type = format!("graph @f(%x: {}f32[1]", "seq<".repeat(100_000));
    assert_eq!(parse(&deep_type).unwrap_err().kind(), ErrorKind::Limit);
    let deep_list = body_of(&format!("  %0 = constant f32[1] {}", "[".repeat(100_000)));
    assert_eq!(parse(&deep_list).unwrap_err().kind(), ErrorKind::Limit);
    let deep_dim = format!("graph @f(%x: f32[{}n]) -> () {{ return }}", "(".repeat(100_000));
    assert!(parse(&deep_dim).is_err());
    let huge = body_of("  %0 = constant f32[1000000000000] splat 0.0");
    assert_eq!(parse(&huge).unwrap_err().kind(), ErrorKind::Limit);
    let many: String = (0..100).map(|i| format!("  %{i} = constant u8[10000000] splat 0\n")).collect();
    assert_eq!(parse(&body_of(&many)).unwrap_err().kind(), ErrorKind::Limit);
    let body = "  %1 = relu %x {a = graph @g() -> () {\n".repeat(10_000);
    assert!(parse(&body_of(&body)).is_err());
    assert!(parse("graph @f(%x: f32[18446744073709551616]) -> () { return }").is_err());
    assert!(parse(&body_of("  %0 = constant f32[4294967296, 4294967296, 4294967296] []")).is_err());
}

#[test]
fn every_prefix_and_every_damaged_byte_of_a_text_is_survived() {
    let text = "graph @f(%x: f32[n, 4], %d: i64[1] = i64[1] [-1]) -> f32[n + 1, 4] {\n  %w = constant f32[1, 4] splat \
                1.0\n  %0 = concat %x, %w {axis = 0} : f32[n + 1, 4] @\"jö\\u{1f}in\"\n  return %0\n}\n";
    parse(text).unwrap();
    for i in 0..text.len() {
        if text.is_char_boundary(i) {
            assert!(text[..i].trim().is_empty() || i + 1 == text.len() || parse(&text[..i]).is_err());
        }
        for with in [b'(', b'"', b'0', b']', b' '] {
            let mut damaged = text.as_bytes().to_vec();
            damaged[i] = with;
            if let Ok(damaged) = String::from_utf8(damaged) {
                let _ = parse(&damaged);
            }
        }
    }
}

#[test]
fn every_bit_pattern_of_narrow_types_reads_back() {
    for &dtype in DType::ALL.iter().filter(|t| t.size_bytes() == 1 && t.bits() == 8 && **t != DType::Bool) {
        let t = Tensor::from_aligned(dtype, &[256], AlignedBytes::copy_of(&(0..=255).collect::<Vec<u8>>())).unwrap();
        assert_eq!(parse_tensor(&print_tensor(&t)).unwrap(), t, "{dtype}");
    }
    for dtype in [DType::F16, DType::BF16] {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let t = Tensor::from_aligned(dtype, &[256, 256], AlignedBytes::copy_of(&bytes)).unwrap();
        assert_eq!(parse_tensor(&print_tensor(&t)).unwrap(), t, "{dtype}");
    }
}

#[test]
fn empty_tensors_are_short_whatever_their_extents() {
    let t = Tensor::zeros(DType::F32, &[1 << 30, 0, 7]).unwrap();
    assert_eq!(print_tensor(&t), "f32[1073741824, 0, 7] []");
    assert_eq!(parse_tensor(&print_tensor(&t)).unwrap(), t);
    assert_eq!(parse_tensor("f32[2, 0] [[], []]").unwrap().shape(), [2, 0]);
    assert_eq!(print_tensor(&Tensor::scalar(2i64)), "i64[] 2");
}

#[test]
fn large_tensors_go_to_a_file_and_come_back() {
    let mut g = Graph::new("g");
    let w = Tensor::from_slice(&[50], &(0..50).map(|i| i as f32).collect::<Vec<_>>());
    let same = Tensor::from_slice(&[5, 10], &(0..50).map(|i| i as f32).collect::<Vec<_>>());
    let other = Tensor::from_slice(&[40], &(0..40).map(|i| i as u8).collect::<Vec<_>>());
    for (name, t) in [("w", w), ("same", same), ("other", other)] {
        let v = g.add_constant(name, t);
        g.outputs.push(v);
    }
    let mut file = Sidecar::new("weights.bin");
    let text = print_with(&g, &mut file);
    assert!(text.contains("%w = constant f32[50] extern(\"weights.bin\", 0, 0x"), "{text}");
    assert_eq!(file.tensors().iter().map(|t| t.0).collect::<Vec<_>>(), [0, 256]);
    let mut bytes = Vec::new();
    file.write(&mut bytes).unwrap();
    let content = bytes::Bytes::from(bytes.clone());
    assert_eq!(parse_with(&text, &|r| r.read(&content)).unwrap(), [g.clone()]);
    bytes[3] ^= 1;
    let damaged = bytes::Bytes::from(bytes);
    let said = parse_with(&text, &|r| r.read(&damaged)).unwrap_err().to_string();
    assert!(said.contains("the tensor at byte 0 of \"weights.bin\" has changed"), "{said}");
    assert_eq!(parse(&print_full(&g)).unwrap(), [g]);
}

#[test]
fn run_time_values_read_back() {
    let f = Type::tensor(DType::F32, &[2]);
    let t = Value::Tensor(Tensor::from_slice(&[2], &[1.0f32, -0.0]));
    let values = [
        t.clone(),
        Value::Sequence(f.clone(), vec![t.clone(), t.clone()]),
        Value::Optional(f.clone(), None),
        Value::Optional(f.clone(), Some(Box::new(t.clone()))),
        Value::Map(DType::String, f.clone(), vec![(Key::String("a b".into()), t.clone())]),
        Value::Map(DType::I64, f, vec![(Key::Int(-3), t)]),
    ];
    let types: Vec<Type> = values.iter().map(Value::ty).collect();
    let text = values.iter().map(print_value).collect::<Vec<_>>().join(", ");
    assert_eq!(parse_values(&format!("{text}) rest"), &types).unwrap(), (values.to_vec(), ") rest"));
    let open = Type::Tensor(TensorType { dtype: DType::I32, shape: Shape::Unranked });
    let (v, _) = parse_values("[[1, 2], [3, 4]]", &[open]).unwrap();
    assert_eq!(v[0].tensor().unwrap().shape(), [2, 2]);
}

/// SplitMix64: graphs from a number, so that a failure is reproduced by it.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

fn some_name(r: &mut Rng) -> String {
    r.pick(&["", "", "x", "y", "weights.0", "7", "a \"b\"\\", "päth/to\n", "return", "_", "graph", "\u{1}"]).to_owned()
}

fn some_dim(r: &mut Rng) -> Dim {
    let n = Dim::sym(r.pick(&["n", "batch size", "undefined", "h"]));
    match r.below(6) {
        0 => n,
        1 => n * 2 + Dim::sym("m") - 3,
        2 => (n + 1).floor_div(&Dim::int(2)),
        3 => Dim::max(&(n - 4), &Dim::sym("k")),
        _ => Dim::int(r.below(5) as i64),
    }
}

fn some_tensor(r: &mut Rng) -> Tensor {
    let dtype = r.pick(DType::ALL);
    let shape: Vec<usize> = (0..r.below(4)).map(|_| r.below(4)).collect();
    let n = shape.iter().product::<usize>();
    let same = r.below(4) == 0;
    match dtype.class() {
        Class::String => Tensor::from_strings(&shape, (0..n).map(|_| some_name(r).into()).collect()),
        Class::Float | Class::Complex => {
            let first = r.next().to_le_bytes();
            let bytes = (0..n * dtype.size_bytes()).map(|_| if same { first[0] } else { r.next() as u8 });
            let bytes = bytes.map(|b| if dtype.bits() == 4 { b & 15 } else { b }).collect::<Vec<_>>();
            Tensor::from_aligned(dtype, &shape, AlignedBytes::copy_of(&bytes)).unwrap()
        }
        _ => Tensor::from_ints(dtype, &shape, (0..n).map(|_| i128::from(if same { 1 } else { r.next() }))),
    }
}

fn some_type(r: &mut Rng, depth: usize) -> Type {
    match r.below(if depth < 3 { 9 } else { 6 }) {
        0 => Type::Unknown,
        1 => Type::Tensor(TensorType { dtype: r.pick(DType::ALL), shape: Shape::Unranked }),
        6 => Type::Sequence(Box::new(some_type(r, depth + 1))),
        7 => Type::Optional(Box::new(some_type(r, depth + 1))),
        8 => Type::Map(DType::I64, Box::new(some_type(r, depth + 1))),
        _ => {
            let rank = r.below(4);
            Type::ranked(r.pick(DType::ALL), (0..rank).map(|_| some_dim(r)).collect())
        }
    }
}

fn some_attr(r: &mut Rng, doc: &AttrDoc, captures: &[Type], depth: usize) -> Attr {
    let n = r.below(4);
    let float = |r: &mut Rng| r.pick(&[0.0f32, -0.0, 1.0, 0.1, 1e30, f32::INFINITY, f32::MIN_POSITIVE / 8.0]);
    match doc.wanted {
        "0 or 1" => Attr::from(r.below(2) as i64),
        "an integer" => Attr::from(r.below(9) as i64 - 4),
        "a float" => Attr::Float(float(r)),
        "a string" => Attr::String(some_name(r)),
        "a tensor" => Attr::Tensor(some_tensor(r)),
        "a graph" => Attr::Graph(Arc::new(some_graph(r, captures, depth + 1))),
        "an element type" => Attr::DType(r.pick(DType::ALL)),
        "a type" => Attr::Type(some_type(r, 0)),
        "integers" => Attr::Ints((0..n).map(|_| Dim::int(r.below(9) as i64 - 4)).collect()),
        "floats" => Attr::Floats((0..n).map(|_| float(r)).collect()),
        "strings" => Attr::Strings((0..n).map(|_| some_name(r)).collect()),
        _ => Attr::Tensors((0..n).map(|_| some_tensor(r)).collect()),
    }
}

/// A graph in single static assignment over all of the registry, its types at random.
fn some_graph(r: &mut Rng, captures: &[Type], depth: usize) -> Graph {
    let mut g = Graph::new(some_name(r));
    for _ in 0..1 + r.below(3) {
        let (name, ty) = (some_name(r), some_type(r, 0));
        let v = g.add_input(name, ty);
        if r.below(4) == 0 {
            g.values[v.index()].constant = Some(some_tensor(r));
        }
    }
    for ty in captures {
        let name = some_name(r);
        g.add_capture(name, ty.clone());
    }
    for _ in 0..r.below(3) {
        let name = some_name(r);
        g.add_constant(name, some_tensor(r));
    }
    for _ in 0..r.below(if depth > 2 { 1 } else { 6 }) {
        let def = r.pick(ops::OPS);
        let n = r.below(4);
        let any = |r: &mut Rng, g: &Graph| ValueId(r.below(g.values.len()) as u32);
        let inputs = (0..n).map(|_| if r.below(5) == 0 { None } else { Some(any(r, &g)) }).collect();
        let graphs = def.attrs.iter().any(|a| a.wanted == "a graph");
        let captured: Vec<ValueId> = if graphs { (0..r.below(3)).map(|_| any(r, &g)).collect() } else { vec![] };
        let types: Vec<Type> = captured.iter().map(|&v| g.ty(v).clone()).collect();
        let mut attrs = Attrs::new();
        for doc in def.attrs {
            if doc.default == "required" || doc.default.is_empty() || r.below(2) == 0 {
                attrs.insert(doc.name.to_owned(), some_attr(r, doc, &types, depth));
            }
        }
        let Ok(op) = (def.parse)(&attrs) else { continue };
        let mut outputs = Vec::new();
        for _ in 0..1 + r.below(2) {
            let (name, ty) = (some_name(r), some_type(r, 0));
            outputs.push(if r.below(4) == 0 { None } else { Some(g.add_value(name, ty)) });
        }
        g.nodes.push(Node { op, name: some_name(r), inputs, captures: captured, outputs });
    }
    for _ in 0..r.below(3) {
        let v = ValueId(r.below(g.values.len()) as u32);
        g.outputs.push(v);
    }
    g
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_graphs_parse_to_what_they_were(seed in any::<u64>()) {
        let g = some_graph(&mut Rng(seed), &[], 0);
        let wanted = canonical(&g).unwrap();
        let text = print_full(&g);
        let read = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        // Texts are compared too: a NaN attribute equals itself only there.
        prop_assert_eq!(&print_full(&read[0]), &text);
        prop_assert!(read[0] == wanted || text.contains("nan"));
        let back = json::from_json(&json::to_json(&g)).unwrap();
        prop_assert!(back == g || text.contains("nan"));
        // Types are at random, so most are wrong: finding it must not fail, and each finding has its line.
        let problems = verify::verify(&g);
        let report = verify::report(&g, &problems);
        prop_assert!(report.lines().count() >= print(&g).lines().count() + problems.len());
        let _ = crate::dot::to_dot(&g);
    }

    #[test]
    fn any_text_is_survived(text in r#"(graph @f\(%x: f32\[2\]\) -> f32\[2\] \{)?[%a-z0-9 =\[\](){}:,."@_<>-]{0,60}"#) {
        let _ = parse(&text);
        let _ = parse_type(&text);
        let _ = parse_tensor(&text);
    }
}

/// Models beside the repository, where they are.
#[test]
fn every_zoo_model_reads_back_from_its_text() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(zoo) = here.ancestors().map(|p| p.join("shared/zoo/tiny")).find(|p| p.is_dir()) else {
        eprintln!("skipped: no shared/zoo/tiny beside the repository");
        return;
    };
    let mut read = 0;
    for entry in std::fs::read_dir(zoo).unwrap() {
        let path = entry.unwrap().path().join("model.onnx");
        // An operator that is not there yet is the importer's business.
        let Ok(model) = crate::onnx::import_file(&path, &crate::onnx::Limits::default()) else { continue };
        let mut file = Sidecar::new("weights.bin");
        let text = print_with(&model.graph, &mut file);
        let mut bytes = Vec::new();
        file.write(&mut bytes).unwrap();
        let bytes = bytes::Bytes::from(bytes);
        let back = parse_with(&text, &|r| r.read(&bytes)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let again = print_with(&back[0], &mut Sidecar::new("weights.bin"));
        assert!(again == text, "{}: the text changes", path.display());
        let wanted = canonical(&model.graph).unwrap();
        assert!(back[0] == wanted || text.contains("nan"), "{}", path.display());
        let problems = verify::verify(&model.graph);
        assert!(problems.is_empty(), "{}:\n{}", path.display(), verify::report(&model.graph, &problems));
        read += 1;
    }
    eprintln!("{read} models");
}
