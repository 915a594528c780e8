// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties, and the errors of models and devices that cannot be used.

use gst::prelude::*;

use super::{FILTERS, name};
use crate::common::{Temporary, error_of, init, start_error};

/// Returns the error that an element posts when a pipeline with it starts, and its text.
fn element_error(filter: &str, properties: &[(&str, &str)]) -> (glib::Error, String) {
    init();
    let pipeline = gst::Pipeline::new();
    let element = gst::ElementFactory::make(name(filter)).build().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    pipeline.add(&element).unwrap();
    let _ = pipeline.set_state(gst::State::Paused);
    let error = error_of(&pipeline);
    let text = error.to_string();
    (error, text)
}

#[test]
fn invalid_models_and_devices_are_errors() {
    for filter in FILTERS {
        let (error, text) = element_error(filter, &[("model-file", "/nowhere/net.safetensors")]);
        assert!(
            error.matches(gst::ResourceError::NotFound)
                && text.contains("/nowhere/net.safetensors"),
            "{text}"
        );

        let (error, text) = element_error(filter, &[("model-file", "/")]);
        assert!(error.matches(gst::ResourceError::Read) && text.contains("regular file"), "{text}");

        let file = Temporary::new("corrupt.safetensors");
        std::fs::write(&file.0, b"this is no model at all").unwrap();
        let (error, text) = element_error(filter, &[("model-file", file.0.to_str().unwrap())]);
        assert!(error.matches(gst::ResourceError::Settings) && text.contains("header"), "{text}");

        for device in ["cuda:63", "gpu", ""] {
            let (error, text) = element_error(filter, &[("device", device)]);
            assert!(error.matches(gst::ResourceError::Settings) && text.contains(device), "{text}");
        }
    }
}

#[test]
fn names_and_flags_are_as_documented() {
    init();
    let live = ["strength", "temporal", "foreground-strength", "background-strength"];
    let own: [(&str, &str, &[&str]); 2] = [
        ("cnndenoise", "GstCnnDenoise", &["noise-level"]),
        ("cnnsmooth", "GstCnnSmooth", &["scale", "structure"]),
    ];
    for (name, kind, own) in own {
        let factory = gst::ElementFactory::find(name).unwrap();
        assert_eq!(factory.metadata("klass"), Some("Filter/Effect/Video"));
        let element = factory.create().build().unwrap();
        assert_eq!(element.type_().name(), kind);
        for property in live.iter().chain(own) {
            let flags = element.find_property(property).unwrap().flags();
            assert!(
                flags.contains(gst::PARAM_FLAG_CONTROLLABLE),
                "{name}: {property} is not controllable"
            );
        }
    }
}

#[test]
fn model_for_another_task_is_refused_with_a_reason() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    for (element, model) in [
        ("cnndenoise", "smooth-fast"),
        ("cnnsmooth", "denoise-yuv420-fast"),
        ("cnndeband", "smooth-fast"),
    ] {
        let text = start_error(&format!(
            "videotestsrc ! video/x-raw,format=I420 ! {element} \
             model-file={folder}/{model}.safetensors ! fakesink"
        ))
        .to_string();
        assert!(text.contains("the model is for the task"), "{element}: {text}");
    }
}
