//! Well-known networks as models of [`tapeless`]: to train, to load, and to build on.
//!
//! | model | source | paths and shapes of the parameters | parameters |
//! |---|---|---|---|
//! | [`ResNet20<3, 16, 10>`](ResNet20) | He et al. 2016, section 4.2 | in the form of torchvision's ResNets | 269,722 |
//! | [`ResNet18<3, 64, 1000>`](ResNet18) | He et al. 2016, table 1 | torchvision's `resnet18` | 11,689,512 |
//! | [`Vgg11<3, 64, 1000>`](Vgg11) | Simonyan and Zisserman 2015, configuration A | torchvision's `vgg11` | 132,863,336 |
//! | [`AlexNet<3, 64, 1000>`](AlexNet) | Krizhevsky 2014 | torchvision's `alexnet` | 61,100,840 |
//!
//! Every model has the channels of its images, the width of its first convolution and the number of classes as const generics,
//! takes images of the sizes that its own documentation names, and has the functions
//!
//! - `logits(image)`: unnormalised scores, `[B, CLASSES]`;
//! - `loss(image, label)`: their mean cross-entropy in nats;
//! - `accuracy(image, label)`: the share of images whose highest score is that of their label.
//!
//! The blocks that they are made of are public as well, and any model is a layer of another: `backbone: ResNet18<3, 64, 1000>`
//! is a field like `fc: Linear<1000, 7>`, and `self.backbone.features(image)` is what the layers before its classifier compute.
//!
//! ```
//! use ndarray::Array4;
//! use tapeless::prelude::*;
//! use tapeless_models::ResNet20;
//!
//! // The network of the paper with an eighth of its width, on two images in colour of 32 x 32.
//! let model = ResNet20::<3, 2, 10>::new(&Device::cpu(), 42)?;
//! let scores = model.logits(&Array4::<f32>::zeros((2, 3, 32, 32)))?;
//! assert_eq!(scores.dim(), (2, 10));
//! # Ok::<(), tapeless::Error>(())
//! ```
//!
//! Weights that PyTorch has trained load without a map where a model has torchvision's names: write
//! `safetensors.torch.save_file(torchvision.models.resnet18(weights="DEFAULT").state_dict(), "resnet18.safetensors")` and call
//! `model.load("resnet18.safetensors")`. Images are then normalised as torchvision says; nothing here does that.
#![forbid(unsafe_code)]

mod alexnet;
mod resnet;
mod vgg;

// Everything: beside each model stand the types of the sizes of its functions, as `ResNet18LossDims`.
pub use alexnet::*;
pub use resnet::*;
pub use vgg::*;
