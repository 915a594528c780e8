// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fuzz target for the model file parser (`make fuzz`): parses arbitrary bytes.
#![no_main]

use cnnvideo_nn::{Model, Network, Size, cpu::{FloatNetwork, Int8Network}};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(model) = Model::from_bytes(data) {
        // A model that passes the parser's checks can be serialised, and creating its networks and
        // sessions does not panic.
        assert!(model.to_bytes().is_ok());
        let granularity = model.graph().granularity();
        let size = Size { width: granularity, height: granularity };
        if let Ok(network) = Int8Network::new(model.clone()) {
            let _ = network.session(size, 1);
        }
        if let Ok(network) = FloatNetwork::new(model) {
            let _ = network.session(size, 1);
        }
    }
});
