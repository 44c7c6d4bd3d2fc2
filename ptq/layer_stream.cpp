#include "ptq/layer_stream.h"

namespace spq::ptq {

at::Tensor transposed(const at::Tensor& m, at::ScalarType dtype) {
  return m.t().to(dtype).contiguous();
}

void LayerStream::load(Projection stage) {
  const at::ScalarType dtype = place_.compute_dtype;
  ready_ = {};
  switch (stage) {
    case Projection::kQkv:
      break;
    case Projection::kOutput:
      ready_.q = weights_.q.to(place_.device, dtype);
      ready_.k = weights_.k.to(place_.device, dtype);
      ready_.v = weights_.v.to(place_.device, dtype);
      break;
    case Projection::kGateUp:
      ready_.o_t = transposed(weights_.o.to(place_.device), dtype);
      break;
    case Projection::kDown:
      ready_.gate = weights_.gate.to(place_.device, dtype);
      ready_.up = weights_.up.to(place_.device, dtype);
      break;
  }
}

void LayerStream::load_down() {
  ready_.down_t = transposed(weights_.down.to(place_.device), place_.compute_dtype);
}

at::Tensor LayerStream::step(Projection stage, size_t i) {
  const model::LayerContext context{place_.config, place_.rope, &scheme_, 1, h_[i].size(0)};
  switch (stage) {
    case Projection::kQkv:
      return x_[i] = model::qkv_input(context, place_.frames, h_[i]);
    case Projection::kOutput:
      return x_[i] = model::output_input(context, ready_, place_.frames, x_[i]);
    case Projection::kGateUp:
      h_[i] = model::after_attention(ready_, h_[i], x_[i]);
      return x_[i] = model::gate_up_input(context, place_.frames, h_[i]);
    case Projection::kDown:
      break;
  }
  return model::down_input(context, ready_, place_.frames, x_[i]);
}

void LayerStream::finish(size_t i, const at::Tensor& x) {
  h_[i] = model::after_mlp(ready_, h_[i], x);
  x_[i].reset();
}

}  // namespace spq::ptq
