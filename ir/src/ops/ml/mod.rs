//! Operators of `ai.onnx.ml`: classical machine learning.
pub mod array_feature_extractor;
pub mod binarizer;
pub mod category_mapper;
pub mod feature_vectorizer;
pub mod imputer;
pub mod label_encoder;
pub mod linear_classifier;
pub mod linear_regressor;
pub mod normalizer;
pub mod one_hot_encoder;
pub mod scaler;
pub mod scores;
pub mod tree_ensemble;
pub mod tree_ensemble_classifier;
pub mod tree_ensemble_regressor;
pub mod trees;
