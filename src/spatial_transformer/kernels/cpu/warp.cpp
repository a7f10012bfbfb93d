// Fused warps on the CPU: theta's matrix (or an explicit grid) -> output, and both gradients.
//
// A plain C interface on raw pointers, without Python or torch headers: one build serves every
// torch release. Work is cut into tasks that do not depend on the number of threads, each output is
// written by one task in a fixed order, and partial sums are added in a fixed order: results are
// the same bit for bit from run to run and for any number of threads.

#include "taps.h"

#include <algorithm>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define STN_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define STN_CLONES
#endif

using namespace stn;

namespace {

constexpr int64_t kSpan = 4096;  // output pixels of one task

// All of a call but its tensors. Mirrors the ctypes structure in load.py.
struct Plan {
  int64_t images, maps, batch;  // of the image, of the matrices or grids, of the output
  int64_t channels, height, width, out_height, out_width;
  int32_t kernel, padding, align_corners, fills;  // fills: batch of the fill values, 0 for none
  int32_t threads;
};

template <class T>
struct Frame {
  // normalised -> pixel on the input, pixel -> normalised on the output
  T half_x, half_y, centre_x, centre_y, tolerance_x, tolerance_y;
  double out_half_x, out_half_y, out_centre_x, out_centre_y;

  explicit Frame(const Plan& p) {
    const double shrink = p.align_corners ? 1 : 0;
    half_x = T((p.width - shrink) / 2);
    half_y = T((p.height - shrink) / 2);
    centre_x = T((p.width - 1) / 2.0);
    centre_y = T((p.height - 1) / 2.0);
    const T eps = sizeof(T) == 4 ? T(1.1920928955078125e-07) : T(2.220446049250313e-16);
    tolerance_x = 4 * eps * T(p.width);
    tolerance_y = 4 * eps * T(p.height);
    out_half_x = (p.out_width - shrink) / 2;
    out_half_y = (p.out_height - shrink) / 2;
    out_centre_x = (p.out_width - 1) / 2.0;
    out_centre_y = (p.out_height - 1) / 2.0;
  }
  double out_x(int64_t j) const { return out_half_x > 0 ? (j - out_centre_x) / out_half_x : 0; }
  double out_y(int64_t i) const { return out_half_y > 0 ? (i - out_centre_y) / out_half_y : 0; }
};

// Where output row i reads, as pixel coordinates: u = start + step * (j - centre), and v likewise.
template <class T>
struct Row {
  T start_u, step_u, start_v, step_v;
};

template <class T>
STN_INLINE Row<T> row_of(const Frame<T>& f, const T* m, int64_t i) {
  const double y = f.out_y(i);
  const double per_x = f.out_half_x > 0 ? 1 / f.out_half_x : 0;
  Row<T> r;
  r.start_u = T(f.half_x * (m[1] * y + m[2]) + f.centre_x);
  r.start_v = T(f.half_y * (m[4] * y + m[5]) + f.centre_y);
  r.step_u = T(f.half_x * m[0] * per_x);
  r.step_v = T(f.half_y * m[3] * per_x);
  return r;
}

// Calls visit(row, column, at, length) for the runs of one row in output pixels [begin, begin + count).
template <class Visit>
STN_INLINE void runs(int64_t width, int64_t begin, int count, Visit visit) {
  int64_t i = begin / width, j = begin % width;
  for (int at = 0; at < count; ++i, j = 0) {
    const int length = int(std::min<int64_t>(width - j, count - at));
    visit(i, j, at, length);
    at += length;
  }
}

// Where output pixels [begin, begin + count), counted row by row, read: pixel coordinates.
template <class T>
STN_INLINE void coordinates(const Plan& p, const Frame<T>& f, const T* map, bool grid,
                            int64_t begin, int count, T* u, T* v) {
  if (grid) {
    const T* g = map + begin * 2;
#pragma omp simd
    for (int j = 0; j < count; ++j) {
      u[j] = g[2 * j] * f.half_x + f.centre_x;
      v[j] = g[2 * j + 1] * f.half_y + f.centre_y;
    }
    return;
  }
  runs(p.out_width, begin, count, [&](int64_t i, int64_t column, int at, int length) {
    const Row<T> r = row_of(f, map, i);
    const T from = T(double(column) - f.out_centre_x);
#pragma omp simd
    for (int j = 0; j < length; ++j) {
      const T x = from + T(j);  // halves and wholes: exact
      u[at + j] = r.step_u * x + r.start_u;
      v[at + j] = r.step_v * x + r.start_v;
    }
  });
}

template <class T, int K, bool Inside>
STN_INLINE void blend(const Taps<T>& taps, const T* image, T fill, int count, T* out) {
#pragma omp simd
  for (int j = 0; j < count; ++j) {
    const T a = taps.template read<Inside>(image, fill, 0, j);
    if (K == kNearest) {
      out[j] = a;
      continue;
    }
    const T b = taps.template read<Inside>(image, fill, 1, j);
    const T c = taps.template read<Inside>(image, fill, 2, j);
    const T d = taps.template read<Inside>(image, fill, 3, j);
    const T tx = taps.x.t[j], ty = taps.y.t[j];
    out[j] = (a * (1 - tx) + b * tx) * (1 - ty) + (c * (1 - tx) + d * tx) * ty;
  }
}

template <class T>
struct Call {
  Plan p;
  const T* image;
  const T* map;
  const T* fill;
  bool grid;

  int64_t map_stride() const { return grid ? p.out_height * p.out_width * 2 : 6; }
  const T* map_of(int64_t b) const { return map + (p.maps == 1 ? 0 : b) * map_stride(); }
  // consecutive outputs share an image when there are more maps than images
  int64_t image_of(int64_t b) const { return b / (p.batch / p.images); }
  T fill_of(int64_t b, int64_t c) const {
    if (!p.fills) return T(0);
    const int64_t which = p.fills == 1 ? 0 : p.fills == p.images ? image_of(b) : b;
    return fill[which * p.channels + c];
  }
};

// One task: output pixels [first, last) of output b, counted row by row.
template <class T>
STN_INLINE void forward_span(const Call<T>& call, int64_t b, int64_t first, int64_t last, T* out) {
  const Plan& p = call.p;
  const Frame<T> f(p);
  const int64_t plane = p.height * p.width, out_plane = p.out_height * p.out_width;
  const T* image = call.image + call.image_of(b) * p.channels * plane;
  T u[kChunk], v[kChunk];
  Taps<T> taps;
  for (int64_t begin = first; begin < last; begin += kChunk) {
    const int count = int(std::min<int64_t>(kChunk, last - begin));
    coordinates(p, f, call.map_of(b), call.grid, begin, count, u, v);
    taps.make(p.kernel, p.padding, u, v, count, int32_t(p.height), int32_t(p.width), f.tolerance_x,
              f.tolerance_y);
    for (int64_t c = 0; c < p.channels; ++c) {
      const T* from = image + c * plane;
      T* to = out + (b * p.channels + c) * out_plane + begin;
      const T fill = call.fill_of(b, c);
      if (p.kernel == kNearest) {
        blend<T, kNearest, false>(taps, from, fill, count, to);
      } else if (taps.all_inside) {
        blend<T, kBilinear, true>(taps, from, fill, count, to);
      } else {
        blend<T, kBilinear, false>(taps, from, fill, count, to);
      }
    }
  }
}

// sum g and sum g * x over x = from, from + 1, ...: in eight lanes, an order that is fixed and that
// vectorises.
struct Moments {
  double sum, first;
};

template <class T>
STN_INLINE Moments moments(const T* g, int length, double from) {
  double sum[8] = {}, first[8] = {};
  int j = 0;
  for (; j + 8 <= length; j += 8) {
    for (int k = 0; k < 8; ++k) {
      sum[k] += double(g[j + k]);
      first[k] += double(g[j + k]) * (from + (j + k));
    }
  }
  for (int k = 0; j + k < length; ++k) {
    sum[k] += double(g[j + k]);
    first[k] += double(g[j + k]) * (from + (j + k));
  }
  Moments m{0, 0};
  for (int k = 0; k < 8; ++k) {
    m.sum += sum[k];
    m.first += first[k];
  }
  return m;
}

// Equation (7): dL/du and dL/dv of a chunk, summed over the channels.
template <class T, bool Inside>
STN_INLINE void slopes(const Taps<T>& taps, const T* image, T fill, const T* grad, int count, T* gu,
                       T* gv) {
#pragma omp simd
  for (int j = 0; j < count; ++j) {
    const T a = taps.template read<Inside>(image, fill, 0, j);
    const T b = taps.template read<Inside>(image, fill, 1, j);
    const T c = taps.template read<Inside>(image, fill, 2, j);
    const T d = taps.template read<Inside>(image, fill, 3, j);
    const T tx = taps.x.t[j], ty = taps.y.t[j];
    gu[j] += grad[j] * ((b - a) * (1 - ty) + (d - c) * ty);
    gv[j] += grad[j] * ((c - a) * (1 - tx) + (d - b) * tx);
  }
}

// Gradient to the grid of output b, or the span's part of the gradient to its matrix (6 numbers).
template <class T>
STN_INLINE void map_span(const Call<T>& call, int64_t b, int64_t first, int64_t last, const T* grad,
                         T* grad_grid, double* grad_matrix) {
  const Plan& p = call.p;
  const Frame<T> f(p);
  const int64_t plane = p.height * p.width, out_plane = p.out_height * p.out_width;
  const T* image = call.image + call.image_of(b) * p.channels * plane;
  T u[kChunk], v[kChunk], gu[kChunk], gv[kChunk];
  Taps<T> taps;
  for (int64_t begin = first; begin < last; begin += kChunk) {
    const int count = int(std::min<int64_t>(kChunk, last - begin));
    coordinates(p, f, call.map_of(b), call.grid, begin, count, u, v);
    taps.make(p.kernel, p.padding, u, v, count, int32_t(p.height), int32_t(p.width), f.tolerance_x,
              f.tolerance_y);
    std::fill(gu, gu + count, T(0));
    std::fill(gv, gv + count, T(0));
    for (int64_t c = 0; c < p.channels; ++c) {
      const T* from = image + c * plane;
      const T* g = grad + (b * p.channels + c) * out_plane + begin;
      const T fill = call.fill_of(b, c);
      if (taps.all_inside) {
        slopes<T, true>(taps, from, fill, g, count, gu, gv);
      } else {
        slopes<T, false>(taps, from, fill, g, count, gu, gv);
      }
    }
    // a non-finite coordinate passes no gradient, even if the fill value is not finite either
#pragma omp simd
    for (int j = 0; j < count; ++j) {
      const bool finite = (u[j] - u[j] == T(0)) & (v[j] - v[j] == T(0));
      gu[j] = finite ? gu[j] * f.half_x : T(0);
      gv[j] = finite ? gv[j] * f.half_y : T(0);
    }
    if (call.grid) {
      T* to = grad_grid + (b * out_plane + begin) * 2;
#pragma omp simd
      for (int j = 0; j < count; ++j) {
        to[2 * j] = gu[j];
        to[2 * j + 1] = gv[j];
      }
      continue;
    }
    runs(p.out_width, begin, count, [&](int64_t i, int64_t column, int at, int length) {
      const double x = double(column) - f.out_centre_x;
      const double y = f.out_y(i), per_x = f.out_half_x > 0 ? 1 / f.out_half_x : 0;
      const Moments mu = moments(gu + at, length, x), mv = moments(gv + at, length, x);
      grad_matrix[0] += mu.first * per_x;
      grad_matrix[1] += mu.sum * y;
      grad_matrix[2] += mu.sum;
      grad_matrix[3] += mv.first * per_x;
      grad_matrix[4] += mv.sum * y;
      grad_matrix[5] += mv.sum;
    });
  }
}

// Equation (6): the gradient to channels [low, high) of one image, over all outputs that read it.
template <class T>
STN_INLINE void image_planes(const Call<T>& call, int64_t image, int64_t low, int64_t high,
                             const T* grad, T* grad_image) {
  const Plan& p = call.p;
  const Frame<T> f(p);
  const int64_t plane = p.height * p.width, out_plane = p.out_height * p.out_width;
  const int64_t sharing = p.batch / p.images;
  T u[kChunk], v[kChunk];
  Taps<T> taps;
  for (int64_t b = image * sharing; b < (image + 1) * sharing; ++b) {
    for (int64_t begin = 0; begin < out_plane; begin += kChunk) {
      const int count = int(std::min<int64_t>(kChunk, out_plane - begin));
      coordinates(p, f, call.map_of(b), call.grid, begin, count, u, v);
      taps.make(p.kernel, p.padding, u, v, count, int32_t(p.height), int32_t(p.width),
                f.tolerance_x, f.tolerance_y);
      for (int64_t c = low; c < high; ++c) {
        T* to = grad_image + (image * p.channels + c) * plane;
        const T* g = grad + (b * p.channels + c) * out_plane + begin;
        for (int j = 0; j < count; ++j) {
          if (p.kernel == kNearest) {
            if (taps.in[0][j]) to[taps.i[0][j]] += g[j];
            continue;
          }
          const T tx = taps.x.t[j], ty = taps.y.t[j];
          const T top = g[j] * (1 - ty), bottom = g[j] * ty;
          if (taps.in[0][j]) to[taps.i[0][j]] += top * (1 - tx);
          if (taps.in[1][j]) to[taps.i[1][j]] += top * tx;
          if (taps.in[2][j]) to[taps.i[2][j]] += bottom * (1 - tx);
          if (taps.in[3][j]) to[taps.i[3][j]] += bottom * tx;
        }
      }
    }
  }
}

// The same for float and double, each compiled for several instruction sets.
STN_CLONES void forward_f32(const Call<float>& c, int64_t b, int64_t i, int64_t k, float* out) {
  forward_span(c, b, i, k, out);
}
STN_CLONES void forward_f64(const Call<double>& c, int64_t b, int64_t i, int64_t k, double* out) {
  forward_span(c, b, i, k, out);
}
STN_CLONES void map_f32(const Call<float>& c, int64_t b, int64_t i, int64_t k, const float* g,
                        float* grid, double* matrix) {
  map_span(c, b, i, k, g, grid, matrix);
}
STN_CLONES void map_f64(const Call<double>& c, int64_t b, int64_t i, int64_t k, const double* g,
                        double* grid, double* matrix) {
  map_span(c, b, i, k, g, grid, matrix);
}
STN_CLONES void image_f32(const Call<float>& c, int64_t n, int64_t low, int64_t high,
                          const float* g, float* out) {
  image_planes(c, n, low, high, g, out);
}
STN_CLONES void image_f64(const Call<double>& c, int64_t n, int64_t low, int64_t high,
                          const double* g, double* out) {
  image_planes(c, n, low, high, g, out);
}

template <class T, class Span>
void forward(const Call<T>& call, T* out, Span span) {
  const int64_t pixels = call.p.out_height * call.p.out_width;
  const int64_t spans = (pixels + kSpan - 1) / kSpan;
#pragma omp parallel for schedule(static) num_threads(call.p.threads)
  for (int64_t task = 0; task < call.p.batch * spans; ++task) {
    const int64_t first = task % spans * kSpan;
    span(call, task / spans, first, std::min(first + kSpan, pixels), out);
  }
}

template <class T, class Span, class Planes>
void backward(const Call<T>& call, const T* grad, T* grad_image, T* grad_map, Span span,
              Planes planes) {
  const Plan& p = call.p;
  if (grad_image) {
    constexpr int64_t block = 8;  // channels of one task
    const int64_t blocks = (p.channels + block - 1) / block;
#pragma omp parallel for schedule(static) num_threads(p.threads)
    for (int64_t task = 0; task < p.images * blocks; ++task) {
      const int64_t low = task % blocks * block;
      planes(call, task / blocks, low, std::min(low + block, p.channels), grad, grad_image);
    }
  }
  if (!grad_map) return;
  const int64_t pixels = p.out_height * p.out_width;
  const int64_t spans = (pixels + kSpan - 1) / kSpan;
  std::vector<double> parts(call.grid ? 0 : p.batch * spans * 6, 0.0);
#pragma omp parallel for schedule(static) num_threads(p.threads)
  for (int64_t task = 0; task < p.batch * spans; ++task) {
    const int64_t first = task % spans * kSpan;
    double* part = call.grid ? nullptr : parts.data() + task * 6;
    span(call, task / spans, first, std::min(first + kSpan, pixels), grad, grad_map, part);
  }
  if (call.grid) return;
  std::vector<double> total(p.maps * 6, 0.0);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t n = 0; n < spans; ++n) {
      for (int k = 0; k < 6; ++k) {
        total[(p.maps == 1 ? 0 : b) * 6 + k] += parts[(b * spans + n) * 6 + k];
      }
    }
  }
  for (size_t k = 0; k < total.size(); ++k) grad_map[k] = T(total[k]);
}

}  // namespace

#define STN_EXPORT extern "C" __attribute__((visibility("default")))

STN_EXPORT int stn_abi() { return 1; }

// `map` is the matrices (maps, 2, 3) or, with grid != 0, grids (maps, out_height, out_width, 2).
// A null gradient is not computed; grad_image must be zero, a grid's gradient is (batch, ..., 2).
STN_EXPORT void stn_forward_f32(const Plan* p, int grid, const float* image, const float* map,
                                const float* fill, float* out) {
  forward(Call<float>{*p, image, map, fill, grid != 0}, out, forward_f32);
}
STN_EXPORT void stn_forward_f64(const Plan* p, int grid, const double* image, const double* map,
                                const double* fill, double* out) {
  forward(Call<double>{*p, image, map, fill, grid != 0}, out, forward_f64);
}
STN_EXPORT void stn_backward_f32(const Plan* p, int grid, const float* image, const float* map,
                                 const float* fill, const float* grad, float* grad_image,
                                 float* grad_map) {
  backward(Call<float>{*p, image, map, fill, grid != 0}, grad, grad_image, grad_map, map_f32,
           image_f32);
}
STN_EXPORT void stn_backward_f64(const Plan* p, int grid, const double* image, const double* map,
                                 const double* fill, const double* grad, double* grad_image,
                                 double* grad_map) {
  backward(Call<double>{*p, image, map, fill, grid != 0}, grad, grad_image, grad_map, map_f64,
           image_f64);
}
