//! Round trips and refusals of the text form.
