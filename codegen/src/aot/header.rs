//! The C header of a compiled model: sizes, names and types, and functions that load weights and run.

use super::weights::{ALIGN, CHECKSUM_FACTOR, CHECKSUM_START, HEADER_BYTES, MAGIC, VERSION, checksum};
use super::{Compiled, Port};
use egret_ir::DType;
use std::fmt::Write;

/// The text of `<name>.h`, for C99 and C++.
pub fn text(c: &Compiled) -> String {
    let template = TEMPLATE
        .replace("@call@", &call(c))
        .replace("@ports@", &ports(c))
        .replace("@returns@", &returns(c))
        .replace("@link@", &link(c));
    let payload = &c.weights[HEADER_BYTES.min(c.weights.len())..];
    let magic = MAGIC.iter().map(|&b| format!("'{}'", b as char)).collect::<Vec<_>>().join(", ");
    [
        ("@name@", c.name.clone()),
        ("@NAME@", c.name.to_uppercase()),
        ("@version@", env!("CARGO_PKG_VERSION").into()),
        ("@target@", c.target.clone()),
        ("@n_inputs@", c.inputs.len().to_string()),
        ("@n_outputs@", c.outputs.len().to_string()),
        ("@arena_bytes@", c.arena_bytes.to_string()),
        ("@weights_bytes@", payload.len().to_string()),
        ("@checksum@", format!("{:#018x}", checksum(payload))),
        ("@start@", format!("{CHECKSUM_START:#018x}")),
        ("@factor@", format!("{CHECKSUM_FACTOR:#x}")),
        ("@magic@", magic),
        ("@layout@", VERSION.to_string()),
        ("@header_bytes@", HEADER_BYTES.to_string()),
        ("@align@", ALIGN.to_string()),
    ]
    .iter()
    .fold(template, |text, (key, value)| text.replace(key, value))
}

/// A name of the model inside of a comment.
fn quoted(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || "*/\\".contains(c) { '_' } else { c }).collect()
}

/// The C type of an element; floats of 16 bits are their codes, and smaller types take a byte.
fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::C64 => "float",
        DType::F64 | DType::C128 => "double",
        DType::I64 => "int64_t",
        DType::I32 => "int32_t",
        DType::I16 => "int16_t",
        DType::I8 | DType::I4 | DType::I2 => "int8_t",
        DType::U64 => "uint64_t",
        DType::U32 => "uint32_t",
        DType::U16 | DType::F16 | DType::BF16 => "uint16_t",
        _ => "uint8_t",
    }
}

fn ports(c: &Compiled) -> String {
    let mut out = String::new();
    for (kind, ports) in [("INPUT", &c.inputs), ("OUTPUT", &c.outputs)] {
        for (i, p) in ports.iter().enumerate() {
            let shape = p.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let name = quoted(&p.name);
            let _ = writeln!(
                out,
                "/* {} {i}, \"{name}\": {}[{shape}], elements of type {} in row-major order. */",
                kind.to_lowercase(),
                p.dtype,
                c_type(p.dtype)
            );
            let _ = writeln!(out, "#define @NAME@_{kind}_{i}_BYTES {}", p.size_bytes);
        }
    }
    out
}

fn returns(c: &Compiled) -> String {
    if c.checks.is_empty() {
        return " * Returns 0; nothing can fail.\n".into();
    }
    let mut out =
        String::from(" * Returns 0, or the number of what was wrong with the inputs (results are then undefined):\n");
    for (i, text) in c.checks.iter().enumerate() {
        let _ = writeln!(out, " *   {}  {}", i + 1, quoted(text));
    }
    out
}

fn link(c: &Compiled) -> String {
    let library = if c.runtime.is_empty() { "" } else { " egret_runtime.o -lm" };
    format!("cc program.c {0}.o{library}", c.name)
}

/// Parameter names: the model's, as C identifiers that differ.
fn parameters(c: &Compiled) -> Vec<String> {
    let mut used: Vec<String> = vec!["model".into(), "inputs".into(), "outputs".into()];
    for p in c.inputs.iter().chain(&c.outputs) {
        let mut name: String = p.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || KEYWORDS.contains(&name.as_str()) {
            name = format!("v_{name}");
        }
        while used.contains(&name) {
            name.push('_');
        }
        used.push(name);
    }
    used.split_off(3)
}

/// The function with one parameter for each input and output.
fn call(c: &Compiled) -> String {
    let names = parameters(c);
    let (inputs, outputs) = names.split_at(c.inputs.len());
    let parameter = |constant: &str, (p, name): (&Port, &String)| format!(", {constant}{} *{name}", c_type(p.dtype));
    let mut head: String = c.inputs.iter().zip(inputs).map(|p| parameter("const ", p)).collect();
    head.extend(c.outputs.iter().zip(outputs).map(|p| parameter("", p)));
    let list = |names: &[String]| if names.is_empty() { "NULL".into() } else { names.join(", ") };
    format!(
        "static inline int32_t @name@_call(const @name@_model *model{head}) {{\n    \
         const void *inputs[] = {{{}}};\n    void *outputs[] = {{{}}};\n    \
         return @name@_run(model->weights, model->arena, inputs, outputs);\n}}\n",
        list(inputs),
        list(outputs)
    )
}

/// Words that are no names in C or C++ and look like names of tensors.
const KEYWORDS: &[&str] = &[
    "and", "asm", "auto", "bool", "break", "case", "char", "class", "const", "continue", "default", "delete", "do",
    "double", "else", "enum", "export", "extern", "false", "float", "for", "goto", "if", "inline", "int", "long",
    "new", "not", "operator", "or", "private", "public", "register", "return", "short", "signed", "sizeof", "static",
    "struct", "switch", "template", "this", "true", "typedef", "union", "unsigned", "using", "virtual", "void",
    "volatile", "while", "xor", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t",
    "uint64_t", "size_t", "NULL",
];

const TEMPLATE: &str = r#"/* @name@: a model compiled ahead of time by Egret @version@ for @target@.
 *
 *     @name@_model model;
 *     if (@name@_load("@name@.weights", &model) != @NAME@_OK) return 1;
 *     @name@_call(&model, ...);   one pointer for each input, then for each output
 *     @name@_free(&model);
 *
 * Link with: @link@
 * A model may be used by one thread at a time. Threads can share the weights: give each an arena of its own and call
 * @name@_run.
 */
#ifndef EGRET_@NAME@_H
#define EGRET_@NAME@_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @NAME@_N_INPUTS @n_inputs@
#define @NAME@_N_OUTPUTS @n_outputs@
@ports@
/* Working memory of a run, aligned to @align@ bytes. */
#define @NAME@_ARENA_BYTES @arena_bytes@
/* Constants, aligned to @align@ bytes, and their checksum in the weights file. */
#define @NAME@_WEIGHTS_BYTES @weights_bytes@ULL
#define @NAME@_WEIGHTS_CHECKSUM @checksum@ULL

/* Runs the model: `weights` as @name@_load reads them, `arena` of @NAME@_ARENA_BYTES (its contents do not matter), one
 * pointer for each input and output, to memory of the lengths above; outputs must not overlap anything else.
@returns@ */
int32_t @name@_run(const void *weights, void *arena, const void *const *inputs, void *const *outputs);

/* Weights and working memory. */
typedef struct @name@_model {
    void *weights;
    void *arena;
    void *allocation;
} @name@_model;

/* What @name@_load returns. */
enum {
    @NAME@_OK = 0,
    @NAME@_UNREADABLE = 1, /* the file cannot be opened or read */
    @NAME@_OTHER = 2,      /* no weights of this model as compiled here */
    @NAME@_DAMAGED = 3,    /* the checksum is wrong */
    @NAME@_NO_MEMORY = 4
};

static inline uint64_t @name@_word(const unsigned char *bytes) {
    uint64_t word = 0;
    int i;
    for (i = 7; i >= 0; i--) word = word << 8 | bytes[i];
    return word;
}

/* Frees what @name@_load allocated. */
static inline void @name@_free(@name@_model *model) {
    free(model->allocation);
    model->weights = model->arena = model->allocation = NULL;
}

/* Reads and checks the weights file and allocates the arena. */
static inline int @name@_load(const char *path, @name@_model *model) {
    static const char magic[8] = {@magic@};
    unsigned char header[@header_bytes@];
    unsigned char *memory;
    uint64_t sum = @start@ULL;
    size_t i, n;
    int end;
    FILE *file;
    model->weights = model->arena = model->allocation = NULL;
    file = fopen(path, "rb");
    if (file == NULL) return @NAME@_UNREADABLE;
    n = fread(header, 1, sizeof header, file);
    if (n != sizeof header || memcmp(header, magic, sizeof magic) != 0 || header[8] != @layout@
        || @name@_word(header + 16) != @NAME@_WEIGHTS_BYTES || @name@_word(header + 24) != @NAME@_WEIGHTS_CHECKSUM) {
        end = ferror(file) ? @NAME@_UNREADABLE : @NAME@_OTHER;
        fclose(file);
        return end;
    }
    model->allocation = malloc((size_t)@NAME@_WEIGHTS_BYTES + @NAME@_ARENA_BYTES + @align@);
    if (model->allocation == NULL) {
        fclose(file);
        return @NAME@_NO_MEMORY;
    }
    memory = (unsigned char *)model->allocation;
    memory += (@align@ - (uintptr_t)memory % @align@) % @align@;
    model->weights = memory;
    model->arena = memory + @NAME@_WEIGHTS_BYTES;
    n = fread(memory, 1, (size_t)@NAME@_WEIGHTS_BYTES, file);
    end = fgetc(file);
    fclose(file);
    for (i = 0; i + 8 <= n; i += 8) {
        sum = (sum ^ @name@_word(memory + i)) * @factor@ULL;
        sum ^= sum >> 32;
    }
    if (n != @NAME@_WEIGHTS_BYTES || end != EOF || sum != @NAME@_WEIGHTS_CHECKSUM) {
        @name@_free(model);
        return @NAME@_DAMAGED;
    }
    return @NAME@_OK;
}

/* Runs a loaded model. Returns what @name@_run returns. */
@call@
#ifdef __cplusplus
}
#endif

#endif
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(inputs: &[&str]) -> Compiled {
        let port = |name: &&str| Port { name: (*name).into(), dtype: DType::F16, shape: vec![2, 3], size_bytes: 12 };
        Compiled {
            name: "net".into(),
            object: Vec::new(),
            weights: vec![0; HEADER_BYTES],
            arena_bytes: 128,
            inputs: inputs.iter().map(port).collect(),
            outputs: vec![],
            checks: vec!["Gather \"a*/b\"".into()],
            runtime: vec![],
            n_kernels: 1,
            target: "x86_64-unknown-linux-gnu".into(),
        }
    }

    #[test]
    fn no_placeholder_is_left_and_names_cannot_leave_their_comment() {
        let text = text(&compiled(&["x*/y", "float"]));
        assert!(!text.contains('@'), "{text}");
        assert!(text.contains("\"x__y\": f16[2, 3], elements of type uint16_t"), "{text}");
        assert!(text.contains("Gather \"a__b\""), "{text}");
    }

    #[test]
    fn parameters_are_distinct_identifiers() {
        let names = parameters(&compiled(&["x.1", "x-1", "float", "1", "model", ""]));
        assert_eq!(names, ["x_1", "x_1_", "v_float", "v_1", "model_", "v_"]);
    }
}
