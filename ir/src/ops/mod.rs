//! All operators. A new one is its file and two lines here: `pub mod name;` and `&name::DEF,`.

use crate::op::OpDef;
use std::collections::HashMap;
use std::sync::OnceLock;

pub mod arg_common;
pub mod attention_common;
pub mod common;
pub mod contraction;
pub mod lanes;
pub mod loss_common;
pub mod lowering;
pub mod move_common;
pub mod pointwise;
pub mod pool_common;
pub mod quantized;
pub mod random;
pub mod recurrent;
pub mod reduce_common;
pub mod scan_common;
pub mod scatter_common;
pub mod sequence_common;
pub mod signal_common;
pub mod window;

pub mod abs;
pub mod acos;
pub mod acosh;
pub mod add;
pub mod affine_grid;
pub mod and;
pub mod arg_max;
pub mod arg_min;
pub mod asin;
pub mod asinh;
pub mod atan;
pub mod atanh;
pub mod attention;
pub mod average_pool;
pub mod batch_normalization;
pub mod bernoulli;
pub mod bit_cast;
pub mod bit_shift;
pub mod bitwise_and;
pub mod bitwise_not;
pub mod bitwise_or;
pub mod bitwise_xor;
pub mod blackman_window;
pub mod cast;
pub mod cast_like;
pub mod causal_conv_with_state;
pub mod ceil;
pub mod celu;
pub mod center_crop_pad;
pub mod clip;
pub mod col2im;
pub mod compress;
pub mod concat;
pub mod concat_from_sequence;
pub mod constant;
pub mod constant_of_shape;
pub mod conv;
pub mod conv_integer;
pub mod conv_transpose;
pub mod cos;
pub mod cosh;
pub mod cum_prod;
pub mod cum_sum;
pub mod deform_conv;
pub mod depth_to_space;
pub mod dequantize_linear;
pub mod det;
pub mod dft;
pub mod div;
pub mod dropout;
pub mod dynamic_quantize_linear;
pub mod einsum;
pub mod elu;
pub mod equal;
pub mod erf;
pub mod exp;
pub mod expand;
pub mod eye_like;
pub mod flatten;
pub mod flex_attention;
pub mod floor;
pub mod gather;
pub mod gather_elements;
pub mod gather_nd;
pub mod gelu;
pub mod gemm;
pub mod global_average_pool;
pub mod global_lp_pool;
pub mod global_max_pool;
pub mod greater;
pub mod greater_or_equal;
pub mod grid_sample;
pub mod group_normalization;
pub mod gru;
pub mod hamming_window;
pub mod hann_window;
pub mod hard_sigmoid;
pub mod hard_swish;
pub mod hardmax;
pub mod identity;
pub mod r#if;
pub mod image_decoder;
pub mod instance_normalization;
pub mod is_inf;
pub mod is_nan;
pub mod layer_normalization;
pub mod leaky_relu;
pub mod less;
pub mod less_or_equal;
pub mod linear_attention;
pub mod log;
pub mod log_softmax;
pub mod r#loop;
pub mod lp_normalization;
pub mod lp_pool;
pub mod lrn;
pub mod lstm;
pub mod mat_mul;
pub mod mat_mul_integer;
pub mod max;
pub mod max_pool;
pub mod max_roi_pool;
pub mod max_unpool;
pub mod mean;
pub mod mean_variance_normalization;
pub mod mel_weight_matrix;
pub mod microsoft;
pub mod min;
pub mod mish;
pub mod ml;
pub mod modulo;
pub mod mul;
pub mod multinomial;
pub mod neg;
pub mod negative_log_likelihood_loss;
pub mod non_max_suppression;
pub mod non_zero;
pub mod not;
pub mod one_hot;
pub mod optional;
pub mod optional_get_element;
pub mod optional_has_element;
pub mod or;
pub mod pad;
pub mod pow;
pub mod prelu;
pub mod q_linear_conv;
pub mod q_linear_mat_mul;
pub mod quantize_linear;
pub mod random_normal;
pub mod random_normal_like;
pub mod random_uniform;
pub mod random_uniform_like;
pub mod range;
pub mod reciprocal;
pub mod reduce_l1;
pub mod reduce_l2;
pub mod reduce_log_sum;
pub mod reduce_log_sum_exp;
pub mod reduce_max;
pub mod reduce_mean;
pub mod reduce_min;
pub mod reduce_prod;
pub mod reduce_sum;
pub mod reduce_sum_square;
pub mod regex_full_match;
pub mod relu;
pub mod reshape;
pub mod resize;
pub mod reverse_sequence;
pub mod rms_normalization;
pub mod rnn;
pub mod roi_align;
pub mod rotary_embedding;
pub mod round;
pub mod scan;
pub mod scatter;
pub mod scatter_elements;
pub mod scatter_nd;
pub mod selu;
pub mod sequence_at;
pub mod sequence_construct;
pub mod sequence_empty;
pub mod sequence_erase;
pub mod sequence_insert;
pub mod sequence_length;
pub mod sequence_map;
pub mod shape;
pub mod shrink;
pub mod sigmoid;
pub mod sign;
pub mod simplified_layer_normalization;
pub mod sin;
pub mod sinh;
pub mod size;
pub mod slice;
pub mod softmax;
pub mod softmax_cross_entropy_loss;
pub mod softplus;
pub mod softsign;
pub mod space_to_depth;
pub mod split;
pub mod split_to_sequence;
pub mod sqrt;
pub mod squeeze;
pub mod stft;
pub mod string_concat;
pub mod string_normalizer;
pub mod string_split;
pub mod sub;
pub mod sum;
pub mod swi_glu;
pub mod swish;
pub mod tan;
pub mod tanh;
pub mod tensor_scatter;
pub mod tf_idf_vectorizer;
pub mod thresholded_relu;
pub mod tile;
pub mod top_k;
pub mod training;
pub mod transpose;
pub mod trilu;
pub mod unique;
pub mod unsqueeze;
pub mod upsample;
pub mod r#where;
pub mod xor;

/// The registry: every operator's declaration.
#[rustfmt::skip] // One entry a line.
pub static OPS: &[&OpDef] = &[
    &abs::DEF,
    &acos::DEF,
    &acosh::DEF,
    &add::DEF,
    &affine_grid::DEF,
    &and::DEF,
    &arg_max::DEF,
    &arg_min::DEF,
    &asin::DEF,
    &asinh::DEF,
    &atan::DEF,
    &atanh::DEF,
    &attention::DEF,
    &average_pool::DEF,
    &batch_normalization::DEF,
    &bernoulli::DEF,
    &bit_cast::DEF,
    &bit_shift::DEF,
    &bitwise_and::DEF,
    &bitwise_not::DEF,
    &bitwise_or::DEF,
    &bitwise_xor::DEF,
    &blackman_window::DEF,
    &cast::DEF,
    &cast_like::DEF,
    &causal_conv_with_state::DEF,
    &ceil::DEF,
    &celu::DEF,
    &center_crop_pad::DEF,
    &clip::DEF,
    &col2im::DEF,
    &compress::DEF,
    &concat::DEF,
    &concat_from_sequence::DEF,
    &constant::DEF,
    &constant_of_shape::DEF,
    &conv::DEF,
    &conv_integer::DEF,
    &conv_transpose::DEF,
    &cos::DEF,
    &cosh::DEF,
    &cum_prod::DEF,
    &cum_sum::DEF,
    &deform_conv::DEF,
    &depth_to_space::DEF,
    &dequantize_linear::DEF,
    &det::DEF,
    &dft::DEF,
    &div::DEF,
    &dropout::DEF,
    &dynamic_quantize_linear::DEF,
    &einsum::DEF,
    &elu::DEF,
    &equal::DEF,
    &erf::DEF,
    &exp::DEF,
    &expand::DEF,
    &eye_like::DEF,
    &flatten::DEF,
    &flex_attention::DEF,
    &floor::DEF,
    &gather::DEF,
    &gather_elements::DEF,
    &gather_nd::DEF,
    &gelu::DEF,
    &gemm::DEF,
    &global_average_pool::DEF,
    &global_lp_pool::DEF,
    &global_max_pool::DEF,
    &greater::DEF,
    &greater_or_equal::DEF,
    &grid_sample::DEF,
    &group_normalization::DEF,
    &gru::DEF,
    &hamming_window::DEF,
    &hann_window::DEF,
    &hard_sigmoid::DEF,
    &hard_swish::DEF,
    &hardmax::DEF,
    &identity::DEF,
    &image_decoder::DEF,
    &instance_normalization::DEF,
    &is_inf::DEF,
    &is_nan::DEF,
    &layer_normalization::DEF,
    &leaky_relu::DEF,
    &less::DEF,
    &less_or_equal::DEF,
    &linear_attention::DEF,
    &log::DEF,
    &log_softmax::DEF,
    &lp_normalization::DEF,
    &lp_pool::DEF,
    &lrn::DEF,
    &lstm::DEF,
    &mat_mul::DEF,
    &mat_mul_integer::DEF,
    &max::DEF,
    &max_pool::DEF,
    &max_roi_pool::DEF,
    &max_unpool::DEF,
    &mean::DEF,
    &mean_variance_normalization::DEF,
    &mel_weight_matrix::DEF,
    &microsoft::attention::DEF,
    &microsoft::bias_gelu::DEF,
    &microsoft::dequantize_linear::DEF,
    &microsoft::dynamic_quantize_lstm::DEF,
    &microsoft::dynamic_quantize_mat_mul::DEF,
    &microsoft::embed_layer_normalization::DEF,
    &microsoft::fast_gelu::DEF,
    &microsoft::fused_conv::DEF,
    &microsoft::fused_gemm::DEF,
    &microsoft::fused_mat_mul::DEF,
    &microsoft::gather_block_quantized::DEF,
    &microsoft::gelu::DEF,
    &microsoft::inverse::DEF,
    &microsoft::mat_mul_integer_to_float::DEF,
    &microsoft::mat_mul_n_bits::DEF,
    &microsoft::nhwc_max_pool::DEF,
    &microsoft::q_gemm::DEF,
    &microsoft::group_query_attention::DEF,
    &microsoft::multi_head_attention::DEF,
    &microsoft::q_linear_add::DEF,
    &microsoft::q_linear_average_pool::DEF,
    &microsoft::q_linear_concat::DEF,
    &microsoft::q_linear_conv::DEF,
    &microsoft::q_linear_global_average_pool::DEF,
    &microsoft::q_linear_leaky_relu::DEF,
    &microsoft::q_linear_mul::DEF,
    &microsoft::q_linear_sigmoid::DEF,
    &microsoft::q_linear_softmax::DEF,
    &microsoft::q_linear_where::DEF,
    &microsoft::quantize_linear::DEF,
    &microsoft::quick_gelu::DEF,
    &microsoft::transpose_mat_mul::DEF,
    &microsoft::trilu::DEF,
    &microsoft::rotary_embedding::DEF,
    &microsoft::skip_layer_normalization::DEF,
    &microsoft::skip_simplified_layer_normalization::DEF,
    &min::DEF,
    &mish::DEF,
    &ml::array_feature_extractor::DEF,
    &ml::binarizer::DEF,
    &ml::cast_map::DEF,
    &ml::category_mapper::DEF,
    &ml::dict_vectorizer::DEF,
    &ml::feature_vectorizer::DEF,
    &ml::imputer::DEF,
    &ml::label_encoder::DEF,
    &ml::linear_classifier::DEF,
    &ml::linear_regressor::DEF,
    &ml::normalizer::DEF,
    &ml::one_hot_encoder::DEF,
    &ml::scaler::DEF,
    &ml::svm_classifier::DEF,
    &ml::svm_regressor::DEF,
    &ml::tree_ensemble::DEF,
    &ml::tree_ensemble_classifier::DEF,
    &ml::tree_ensemble_regressor::DEF,
    &ml::zip_map::DEF,
    &modulo::DEF,
    &mul::DEF,
    &multinomial::DEF,
    &neg::DEF,
    &negative_log_likelihood_loss::DEF,
    &non_max_suppression::DEF,
    &non_zero::DEF,
    &not::DEF,
    &one_hot::DEF,
    &optional::DEF,
    &optional_get_element::DEF,
    &optional_has_element::DEF,
    &or::DEF,
    &pad::DEF,
    &pow::DEF,
    &prelu::DEF,
    &q_linear_conv::DEF,
    &q_linear_mat_mul::DEF,
    &quantize_linear::DEF,
    &r#if::DEF,
    &r#loop::DEF,
    &r#where::DEF,
    &random_normal::DEF,
    &random_normal_like::DEF,
    &random_uniform::DEF,
    &random_uniform_like::DEF,
    &range::DEF,
    &reciprocal::DEF,
    &reduce_l1::DEF,
    &reduce_l2::DEF,
    &reduce_log_sum::DEF,
    &reduce_log_sum_exp::DEF,
    &reduce_max::DEF,
    &reduce_mean::DEF,
    &reduce_min::DEF,
    &reduce_prod::DEF,
    &reduce_sum::DEF,
    &reduce_sum_square::DEF,
    &regex_full_match::DEF,
    &relu::DEF,
    &reshape::DEF,
    &resize::DEF,
    &reverse_sequence::DEF,
    &rms_normalization::DEF,
    &rnn::DEF,
    &roi_align::DEF,
    &rotary_embedding::DEF,
    &round::DEF,
    &scan::DEF,
    &scatter::DEF,
    &scatter_elements::DEF,
    &scatter_nd::DEF,
    &selu::DEF,
    &sequence_at::DEF,
    &sequence_construct::DEF,
    &sequence_empty::DEF,
    &sequence_erase::DEF,
    &sequence_insert::DEF,
    &sequence_length::DEF,
    &sequence_map::DEF,
    &shape::DEF,
    &shrink::DEF,
    &sigmoid::DEF,
    &sign::DEF,
    &simplified_layer_normalization::DEF,
    &sin::DEF,
    &sinh::DEF,
    &size::DEF,
    &slice::DEF,
    &softmax::DEF,
    &softmax_cross_entropy_loss::DEF,
    &softplus::DEF,
    &softsign::DEF,
    &space_to_depth::DEF,
    &split::DEF,
    &split_to_sequence::DEF,
    &sqrt::DEF,
    &squeeze::DEF,
    &stft::DEF,
    &string_concat::DEF,
    &string_normalizer::DEF,
    &string_split::DEF,
    &sub::DEF,
    &sum::DEF,
    &swi_glu::DEF,
    &swish::DEF,
    &tan::DEF,
    &tanh::DEF,
    &tensor_scatter::DEF,
    &tf_idf_vectorizer::DEF,
    &thresholded_relu::DEF,
    &tile::DEF,
    &top_k::DEF,
    &training::adagrad::DEF,
    &training::adam::DEF,
    &training::momentum::DEF,
    &transpose::DEF,
    &trilu::DEF,
    &unique::DEF,
    &unsqueeze::DEF,
    &upsample::DEF,
    &xor::DEF,
];

/// The operator `name` of `domain` (`ai.onnx` and the empty string are one).
pub fn find(domain: &str, name: &str) -> Option<&'static OpDef> {
    static INDEX: OnceLock<HashMap<(&str, &str), &'static OpDef>> = OnceLock::new();
    let index = INDEX.get_or_init(|| OPS.iter().map(|&d| ((d.domain, d.name), d)).collect());
    index.get(&(if domain.is_empty() { "ai.onnx" } else { domain }, name)).copied()
}

/// The operator of a mnemonic in IR text.
pub fn find_mnemonic(word: &str) -> Option<&'static OpDef> {
    static INDEX: OnceLock<HashMap<String, &'static OpDef>> = OnceLock::new();
    INDEX.get_or_init(|| OPS.iter().map(|&d| (d.mnemonic(), d)).collect()).get(word).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_found_by_its_names_and_only_it() {
        for def in OPS {
            assert!(std::ptr::eq(find(def.domain, def.name).unwrap(), *def), "{def:?} is registered twice");
            assert!(std::ptr::eq(find_mnemonic(&def.mnemonic()).unwrap(), *def));
            assert!(def.since.is_sorted() && !def.since.is_empty(), "{def:?}");
            assert!(!def.summary.is_empty() && !def.summary.ends_with('.'), "{def:?}");
        }
    }
}
