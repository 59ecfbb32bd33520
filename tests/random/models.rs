//! Random models: the first texts that the compiler's own tests draw (`macros/src/oracle/source`). They are not edited by hand:
//! `cargo test -p tapeless_macros write_the_random_models -- --ignored` writes this file and the numbers in `expected`.

pub mod seed_00 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: RmsNorm<D>,
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.softplus();
            let mixed = self.norm0(hidden);
            let mixed = mixed * self.scale0;
            let mixed = mixed / (1.0 + hidden.square());
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<_, 3>,
        fc1: Linear<3, 3>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 3> {
            let hidden = x - x.mean(axis = 2, keepdim = true);
            let mixed = hidden + hidden.mish();
            let mixed = self.fc0(mixed);
            let mixed = mixed.tanh();
            let next = (mixed * mixed.softmax(axis = 1)).sum(axis = 1);
            let inner = next.sigmoid();
            let inner = self.fc1(inner);
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let hot = label.one_hot(5);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            let decay = self.fc0.weight.square().sum();
            each.mean() + 0.01 * decay
        }
    }
}

pub mod seed_01 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<D, D>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.fc0(x).tanh();
            let mixed = hidden / (1.0 + x.square());
            let mixed = mixed.matmul(self.weight0);
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
        block0: Inner<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            let hidden = hidden + self.block0(hidden);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 3>,
        fc0: Linear<3, 3>,
        #[layer(bias = false)]
        fc1: Linear<3, 3>,
        fc2: Linear<_, 5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.table0(tokens);
            let mixed = (hidden * 1.5 + 0.1).elu();
            let next = self.fc0(mixed).tanh();
            let inner = next.sum(axis = 1);
            let inner = self.fc1(inner).tanh();
            let state = self.fc2(inner).tanh();
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn inspect<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            rate: f32,
        ) -> (Tensor<B, 5>, Tensor<B, 5>) {
            let features = self.features(tokens, rate);
            (features, self.scores(tokens, rate))
        }
    }
}

pub mod seed_02 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.cumsum(axis = 1);
            let hidden = self.norm0(hidden);
            let hidden = hidden + x;
            let mixed = x * self.scale0;
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.sin();
            x.elu() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let hidden = select(hidden > x, hidden, 0.5 * x);
            let hidden = self.norm0(hidden);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<5>,
        #[layer(bias = false)]
        fc0: Linear<_, 3>,
        fc1: Linear<_, WIDTH>,
        #[layer(p = 0.25)]
        drop0: Dropout,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, WIDTH> {
            let hidden = x + self.block0(x);
            let hidden = self.fc0(hidden).tanh();
            let mixed = hidden + 0.5 * hidden.flip(axis = 1);
            let mixed = self.fc1(mixed);
            mixed
        }

        fn scores<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            let mixed = self.drop0(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 5>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(x);
            bce_with_logits(scores, target.sigmoid())
        }
    }
}

pub mod seed_03 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.softplus();
            x.tanh() * gate
        }

        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            let mixed = Self::bend2(hidden);
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        fc0: Linear<D, D>,
        block1: Inner<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.min(axis = 1, keepdim = true);
            let hidden = self.block0(hidden);
            let hidden = self.fc0(hidden);
            let hidden = self.block1(hidden);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1, bias = false)]
        conv0: Conv2d<3, 1, 1>,
        #[layer(eps = 0.1, affine = false)]
        bn0: BatchNorm2d<3>,
        fc0: Linear<_, 4>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 4> {
            let hidden = self.conv0(image).sigmoid();
            let image = self.bn0(image);
            let image = image.dropout2d(0.25);
            let mixed = image.mean(axis = (2, 3));
            let next = mixed.cumsum(axis = 1);
            let inner = mixed.maximum(next);
            let state = next + 0.5 * next.flip(axis = 1);
            let part = self.fc0(state);
            part
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(image, rate);
            let mixed = einsum("bi,oi->bo", hidden, self.core0);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            cross_entropy(scores, label)
        }
    }
}

pub mod seed_04 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.tanh();
            let mixed = hidden.cumsum(axis = 1);
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        act0: Softplus,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = hidden + x;
            mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, dilation = 2)]
        conv0: Conv2d<_, 2, 1>,
        #[layer(stride = 1)]
        pool0: AvgPool2d<2>,
        #[freeze]
        block0: Inner<2>,
        fc0: Linear<2, WIDTH>,
        block1: Outer<WIDTH, 4>,
        fc1: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).sigmoid();
            let hidden = self.pool0(hidden);
            let mixed = hidden.gelu();
            let next = mixed.global_avg_pool2d();
            let inner = next + 0.5 * next.flip(axis = 1);
            let state = self.block0(self.block0(inner));
            let part = self.fc0(state).relu();
            let part = part + self.block1(part);
            let part = self.fc1(part);
            part
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn inspect<B: Dim>(
            &self,
            image: Tensor<B, 3, 7, 5>,
            rate: f32,
        ) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(image, rate);
            (features, self.scores(image, rate))
        }
    }
}

pub mod seed_05 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
        #[layer(p = 0.25)]
        drop0: Dropout,
        act0: Relu,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = einsum("bti,oi->bto", x, self.core0);
            let mixed = self.drop0(x);
            let next = (mixed * 1.5 + 0.1).relu();
            let inner = self.act0(next);
            x + inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
        block0: Inner<D>,
        block1: Inner<D>,
        fc0: Linear<_, { 2 * D }>,
        block2: Inner<{ 2 * D }>,
        fc1: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            let x = x + self.block0(x);
            let mixed = x + self.block1(x);
            let next = self.fc0(mixed).relu();
            let inner = next + self.block2(next);
            let state = self.fc1(inner);
            x + state
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, WIDTH>,
        fc0: Linear<WIDTH, 4>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 4>,
        fc1: Linear<_, WIDTH>,
        #[layer(init = normal(0.0, 0.5))]
        core1: Param<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.gelu();
            x.tanh() * gate
        }

        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = self.fc0(hidden).relu();
            let next = Self::bend3(mixed);
            let inner = einsum("bti,oi->bto", mixed, self.core0);
            let state = inner.max(axis = 1);
            let state = self.fc1(state);
            state
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            let mixed = einsum("bi,oi->bo", hidden, self.core1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, WIDTH>, Tensor<B, 6>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }
    }
}

pub mod seed_06 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let (hidden, mixed) = (x.sigmoid(), x * 0.5);
            let (next, inner) = (mixed.relu(), mixed * 0.5);
            let inner = inner.matmul(self.weight0);
            inner
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1)]
        conv0: Conv2d<2, 2, 2>,
        #[layer(eps = 0.1)]
        gn0: GroupNorm<1, 2>,
        block0: Inner<2>,
        #[layer(bias = false)]
        fc0: Linear<2, 4>,
        block1: Inner<4>,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<4>,
        #[layer(bias = false)]
        fc1: Linear<_, 4>,
        fc2: Linear<4, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.tanh();
            x.elu() * gate
        }

        fn features<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image).relu();
            let mixed = self.gn0(image);
            let mixed = mixed.mean(axis = (2, 3));
            let next = self.block0(mixed);
            let next = self.fc0(next).tanh();
            let next = next + self.block1(next);
            let inner = Self::bend2(next);
            let inner = self.norm0(inner);
            let inner = self.fc1(inner);
            inner
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            let mixed = self.fc2(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 5, 6>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(image);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 2, 5, 6>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_07 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x + self.seen0;
            let mixed = select(hidden > x, hidden, 0.5 * x);
            mixed
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<3>,
        #[layer(bias = false)]
        fc0: Linear<3, 3>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
            let hidden = x.cumsum(axis = 1);
            let hidden = hidden + hidden.tanh();
            let hidden = self.block0(self.block0(hidden));
            let mixed = self.fc0(hidden).tanh();
            mixed
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            let mixed = hidden.log_softmax(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(x);
            bce_with_logits(scores, target.sigmoid())
        }
    }
}

pub mod seed_08 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, 4>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            let mixed = hidden.matmul(self.weight0);
            let next = self.bn0(hidden);
            next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {}

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.gelu();
            x.softplus() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x + 0.5 * x.flip(axis = 1);
            let mixed = Self::bend2(x);
            let (next, inner) = (mixed.gelu(), mixed * 0.5);
            inner
        }
    }

    #[model]
    pub struct Net {
        #[layer(dilation = 2)]
        conv0: Conv2d<_, 3, 2>,
        act0: LeakyRelu,
        block0: Outer<3, 3>,
        #[layer(bias = false)]
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 5, 7>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image);
            let mixed = hidden.dropout(0.25);
            let mixed = mixed.avg_pool2d(3, stride = 2, padding = 1);
            let next = mixed.mean(axis = (2, 3));
            let next = next.softmax(axis = 1);
            let next = self.act0(next);
            let inner = self.block0(next);
            let state = self.fc0(inner).relu();
            state
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 3, 5, 7>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 5, 7>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 3, 5, 7>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_09 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = select(x < 0.1, x.exp(), 1.1 + x);
            let mixed = hidden.log_softmax(axis = 2);
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        fc0: Linear<D, H>,
        #[freeze]
        block1: Inner<H>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.sin();
            x.relu() * gate
        }

        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = Self::bend3(x);
            let hidden = self.block0(hidden);
            let mixed = self.fc0(hidden);
            let mixed = self.block1(mixed);
            let next = mixed.matmul(self.fc0.weight);
            next
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<4, 4>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<4>,
        #[layer(bias = false)]
        fc1: Linear<4, 3>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 3> {
            let hidden = (x * 1.5 + 0.1).relu();
            let mixed = self.fc0(hidden).relu();
            let mixed = mixed - mixed.min(axis = 0, keepdim = true);
            let next = mixed.sum(axis = 1);
            let next = self.bn0(next);
            let next = self.fc1(next).relu();
            next
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label)
        }

        pub fn accuracy<B: Dim, T: Dim>(
            &self,
            x: Tensor<B, T, 4>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(x, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_10 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Sigmoid,
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = hidden.cumsum(axis = 1);
            let (next, inner) = (mixed.sin(), mixed * 0.5);
            self.seen0 = self.seen0 * 0.75 + 0.25 * inner.mean(axis = 0);
            let inner = inner - self.seen0;
            inner
        }
    }

    #[model]
    pub struct Net {
        conv0: Conv2d<_, 2, 1>,
        #[layer(stride = 2, padding = 1, bias = false)]
        conv1: Conv2d<_, 2, 1>,
        block0: Inner<11>,
        #[layer(bias = false)]
        fc0: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = self.conv1(hidden).relu();
            let next = mixed.flatten();
            let next = next.slice(.., 0..11);
            let inner = next + self.block0(next);
            let state = inner / (1.0 + next.square());
            let part = self.fc0(state).relu();
            part
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            let mixed = hidden.dropout(0.25);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, ignore_index = 1) + 0.01 * decay
        }

        pub fn inspect<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> (Tensor<B, 4>, Tensor<B, 5>) {
            let features = self.features(image);
            (features, self.scores(image))
        }
    }
}

pub mod seed_11 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let (hidden, mixed) = (x.mish(), x * 0.5);
            let next = mixed.sigmoid();
            let inner = concat((next, mixed), axis = 2);
            let state = self.fc0(inner).relu();
            x + state
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        block1: Inner<D>,
        #[layer(bias = false)]
        fc0: Linear<D, { 2 * D }>,
        block2: Inner<{ 2 * D }>,
        fc1: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.block0(x);
            let hidden = self.block1(hidden);
            let mixed = self.fc0(hidden).tanh();
            let mixed = self.block2(mixed);
            let next = self.fc1(mixed).relu();
            next
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.softmax(axis = 1);
            let (mixed, next) = (hidden.softplus(), hidden * 0.5);
            let next = next.matmul(self.weight0);
            let next = self.fc0(next);
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<3>,
        fc0: Linear<3, 3>,
        seen0: State<3>,
        head0: Linear<3, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 3> {
            let hidden = self.table0(tokens);
            let mixed = self.norm0(hidden);
            let next = select(hidden > mixed, hidden, 0.5 * mixed);
            let mut inner = next;
            inner += 0.5 * mixed;
            let state = (inner * inner.softmax(axis = 1)).sum(axis = 1);
            let part = self.fc0(state).tanh();
            part
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            self.seen0 = self.seen0 * 0.75 + 0.25 * hidden.mean(axis = 0);
            let mixed = hidden + self.seen0;
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            let log = scores.log_softmax(axis = 1);
            let decay = self.fc0.weight.square().sum();
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean() + 0.01 * decay
        }
    }
}

pub mod seed_12 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Softplus,
        #[layer(init = ones)]
        scale0: Param<D>,
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.act0(x);
            let hidden = hidden.log_softmax(axis = 2);
            let x = x + self.scale0;
            let mixed = concat((x, hidden), axis = 2);
            let next = self.fc0(mixed).tanh();
            x + next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).relu();
            let x = x + x.mish();
            let x = self.fc0(x);
            x
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: RmsNorm<D>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<4, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.norm0(x);
            let mixed = hidden + 0.5 * hidden.flip(axis = 1);
            let next = einsum("bi,oi->bo", mixed, self.core0);
            let inner = self.fc0(next);
            inner
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        block0: Outer<4, 4>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<4, 4>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<4>,
        #[layer(bias = false)]
        fc0: Linear<4, 4>,
        #[layer(eps = 0.1)]
        bn1: BatchNorm1d<4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            let mixed = hidden + 0.5 * hidden.flip(axis = 2);
            let mixed = self.block0(mixed);
            let mixed = mixed.matmul(self.weight0);
            let next = mixed - mixed.mean(axis = 0, keepdim = true);
            let inner = next.sum(axis = 1);
            let state = self.bn0(inner);
            let state = self.fc0(state).tanh();
            state
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            let mixed = self.bn1(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, 4>, Tensor<B, 6>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }
    }
}

pub mod seed_13 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).mish();
            let mixed = hidden.matmul(self.weight0);
            let next = mixed.log_softmax(axis = 2);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
        act0: Sigmoid,
        fc0: Linear<D, 4>,
        fc1: Linear<4, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.norm0(x);
            let mixed = self.act0(hidden);
            let mut next = mixed;
            next += 0.5 * x;
            let mixed = self.fc0(mixed).tanh();
            let inner = self.fc1(mixed);
            x + inner
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<5>,
        #[layer(bias = false)]
        fc0: Linear<5, 3>,
        fc1: Linear<3, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 3> {
            let hidden = x + self.block0(x);
            let mixed = hidden.cumsum(axis = 1);
            let next = (mixed * mixed.softmax(axis = 1)).sum(axis = 1);
            let inner = self.fc0(next).relu();
            inner
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            let mixed = self.fc1(hidden).tanh();
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(x);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn inspect<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> (Tensor<B, 3>, Tensor<B, 6>) {
            let features = self.features(x);
            (features, self.scores(x))
        }
    }
}

pub mod seed_14 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x + 0.5 * x.flip(axis = 2);
            let mut mixed = x;
            mixed += 0.5 * hidden;
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        fc0: Linear<D, H>,
        block1: Inner<H>,
        block2: Inner<H>,
        fc1: Linear<_, { 2 * D }>,
        block3: Inner<{ 2 * D }>,
        fc2: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.block0(x);
            let hidden = self.fc0(hidden);
            let hidden = hidden + self.block1(hidden);
            let mixed = self.block2(hidden);
            let next = self.fc1(mixed);
            let inner = self.block3(self.block3(next));
            let mut state = inner;
            state += 0.5 * next;
            let part = self.block3(state);
            let hidden2 = self.fc2(part).relu();
            hidden2
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        block0: Outer<3, 3>,
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = (hidden * 1.5 + 0.1).gelu();
            let mut next = mixed;
            next += 0.5 * hidden;
            let inner = next + self.block0(next);
            let inner = inner.slice(.., .., 0..2);
            let state = inner.mean(axis = 1);
            let part = self.fc0(state);
            part
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            let (mixed, next) = (hidden.softplus(), hidden * 0.5);
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(tokens);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }
    }
}

pub mod seed_15 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.min(axis = 0, keepdim = true);
            let hidden = concat((hidden, x), axis = 1);
            let (mixed, next) = (hidden.sin(), hidden * 0.5);
            let inner = self.fc0(next);
            inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        #[layer(bias = false)]
        fc0: Linear<_, H>,
        block1: Inner<H>,
        fc1: Linear<H, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.block0(self.block0(x));
            let hidden = self.block0(hidden);
            let mixed = self.fc0(hidden);
            let mixed = mixed + self.block1(mixed);
            let next = self.block1(mixed);
            let inner = self.block1(next);
            let state = self.fc1(inner).relu();
            x + state
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, dilation = 2)]
        conv0: Conv2d<3, 2, 3>,
        fc0: Linear<2, 4>,
        fc1: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 4> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = hidden.sin();
            let mixed = mixed.tanh();
            let next = mixed.global_avg_pool2d();
            let (inner, state) = (next.gelu(), next * 0.5);
            let part = self.fc0(state).relu();
            let hidden2 = self.fc1(part);
            hidden2
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, ignore_index = 1) + 0.01 * decay
        }

        pub fn inspect<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> (Tensor<B, 4>, Tensor<B, 5>) {
            let features = self.features(image, rate);
            (features, self.scores(image, rate))
        }
    }
}

pub mod seed_16 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<4, 4>,
        fc1: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = einsum("bti,oi->bto", x, self.core0);
            let (mixed, next) = (hidden.silu(), hidden * 0.5);
            let inner = self.fc0(next);
            let inner = self.fc1(inner);
            x + inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        #[layer(init = ones)]
        scale0: Param<D>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.block0(x);
            let mixed = hidden + self.scale0;
            let mixed = einsum("bti,oi->bto", mixed, self.core0);
            let next = self.fc0(mixed).tanh();
            next
        }
    }

    #[model]
    pub struct Net {
        fc0: Linear<4, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 4> {
            let hidden = x.cumsum(axis = 1);
            let x = x.cumsum(axis = 1);
            let mixed = x.sum(axis = 1);
            let mixed = mixed.gelu();
            let next = self.fc0(mixed).tanh();
            next
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, label_smoothing = 0.1) + 0.01 * decay
        }

        pub fn inspect<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> (Tensor<B, 4>, Tensor<B, 6>) {
            let features = self.features(x, rate);
            (features, self.scores(x, rate))
        }
    }
}

pub mod seed_17 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.norm0(x);
            let hidden = einsum("bti,oi->bto", hidden, self.core0);
            let hidden = self.fc0(hidden).relu();
            x + hidden
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        fc0: Linear<D, H>,
        fc1: Linear<H, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.log_softmax(axis = 2);
            let x = x + x.relu();
            let x = x.cumsum(axis = 1);
            let x = self.fc0(x).relu();
            let mixed = self.fc1(x).relu();
            mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x + self.scale0;
            let mixed = hidden.log_softmax(axis = 1);
            let next = mixed.cumsum(axis = 1);
            let inner = self.norm0(next);
            x + inner
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<5>,
        fc0: Linear<5, WIDTH>,
        block1: Outer<WIDTH, 4>,
        block2: Inner<WIDTH>,
        #[layer(bias = false)]
        fc1: Linear<_, WIDTH>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<WIDTH, WIDTH>,
        fc2: Linear<WIDTH, WIDTH>,
        #[layer(init = ones)]
        scale0: Param<WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, WIDTH> {
            let hidden = x + self.block0(x);
            let hidden = self.fc0(hidden).tanh();
            let hidden = self.block1(hidden);
            let mixed = hidden + self.block2(hidden);
            let next = self.fc1(mixed).relu();
            let next = next + self.block1(next);
            let next = einsum("bti,oi->bto", next, self.core0);
            let inner = next.mean(axis = 1);
            let inner = self.fc2(inner);
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            let mixed = hidden - self.scale0;
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(x);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(x).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_18 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.max(axis = 0, keepdim = true);
            let mixed = x + 0.5 * x.flip(axis = 2);
            let next = mixed.sigmoid() * hidden;
            next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        block0: Inner<4>,
        #[layer(bias = false)]
        fc0: Linear<4, WIDTH>,
        block1: Inner<WIDTH>,
        #[layer(bias = false)]
        fc1: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden + self.block0(hidden);
            let next = self.fc0(mixed).relu();
            let next = self.block1(next);
            let inner = self.block1(next);
            let state = inner.max(axis = 1);
            let part = self.fc1(state);
            part
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(tokens);
            let decay = self.fc0.weight.square().sum();
            bce_with_logits(scores, target.sigmoid()) + 0.01 * decay
        }
    }
}

pub mod seed_19 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<_, D>,
        act0: Tanh,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.min(axis = 2, keepdim = true);
            let (mixed, next) = (hidden.silu(), hidden * 0.5);
            let inner = self.fc0(next).tanh();
            let inner = self.act0(inner);
            x + inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        fc0: Linear<D, { 2 * D }>,
        fc1: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.fc0(x);
            let mixed = hidden.dropout(0.25);
            let mixed = mixed - mixed.min(axis = 0, keepdim = true);
            let mixed = mixed.softplus();
            let next = self.fc1(mixed);
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 4>,
        block0: Outer<2, 3>,
        #[layer(bias = false)]
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden.slice(.., .., 0..2);
            let next = self.block0(mixed);
            let next = next.mean(axis = 1);
            let inner = next.log_softmax(axis = 1);
            let state = self.fc0(inner).tanh();
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label) + 0.01 * decay
        }

        pub fn accuracy<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(tokens, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}
