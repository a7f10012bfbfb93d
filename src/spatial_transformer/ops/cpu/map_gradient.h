// The gradient to the maps, equation (7), from dL/du of the pixels on.
#pragma once

#include "locate.h"

namespace stn::STN_SET {
namespace {

// Sums over a tile of what the matrix's gradient is made of, and the gradient to grids. There are
// sixteen sums side by side, added in a fixed order, however wide the vectors are.
template <class T, int D>
struct MapGradient {
  const Call<T>& call;
  const Coordinates<T, D>& coordinates;
  const int64_t b;
  bool add = false;  // to what other channels have left in a grid's gradient
  double total[D + 1][(D + 1) * kGroup] = {};  // row of the matrix by column

  STN_INLINE MapGradient(const Call<T>& call, const Coordinates<T, D>& coordinates, int64_t b)
      : call(call), coordinates(coordinates), b(b) {}

  // dL/du, in pixels of the image, of `count` pixels of row r from column j on. `coordinates` is at
  // that row; what lies behind the pixels, to a whole group, is anything.
  STN_NOINLINE void pixels(int64_t r, int64_t j, int count, const T* slopes, int64_t step) {
    if (call.p.grid) {
      T* grid = call.grad_map + (b * call.out_plane() + r * call.p.out_size[0] + j) * D;
      for (int k = 0; k < D; ++k) {
        const T half = T(call.axis(k).half);
        for (int n = 0; n < count; ++n) {
          T& to = grid[n * D + k];
          to = slopes[k * step + n] * half + (add ? to : T(0));
        }
      }
      return;
    }
    constexpr int wide = kLanes<T>, vectors = kGroup / wide;
    const bool projective = call.p.projective;
    Vec<T> sums[D + 1][2][vectors] = {};  // times 1, times x
    for (int n = 0; n < count; n += kGroup) {
      STN_UNROLL
      for (int v = 0; v < vectors; ++v) {
        const int first = n + v * wide, remaining = count - first;
        const Vec<T> across = coordinates.lanes + T(j + first);
        Vec<T> rows[D + 1] = {};
        STN_UNROLL
        for (int k = 0; k < D; ++k) {
          const Vec<T> slope = load<Vec<T>>(slopes + k * step + first);
          rows[k] = remaining < wide ? first_lanes<T>(slope, remaining) : slope;
        }
        if (projective) {
          Vec<T> u[D];
          coordinates.at(j + first, remaining, u);
          const Vec<T> divisor = across * coordinates.slope[D] + coordinates.start[D];
          const Vec<T> in_front = divisor > kEpsilon<T> ? 1 / divisor : Vec<T>{};
          for (int k = 0; k < D; ++k) {
            const Mask<T> none = rows[k] == 0;
            rows[k] *= in_front;
            const Vec<T> change = rows[k] * (u[k] - T(coordinates.middle[k]));
            rows[D] -= none ? Vec<T>{} : change;  // u may not be finite
          }
        }
        STN_UNROLL
        for (int k = 0; k < D + 1; ++k) {
          if (k == D && !projective) break;
          sums[k][0][v] += rows[k];
          sums[k][1][v] += rows[k] * across;
        }
      }
    }
    const double y = coordinates.y_of(r), z = coordinates.z_of(r);
    STN_UNROLL
    for (int k = 0; k < D + 1; ++k) {
      if (k == D && !projective) break;
      T once[kGroup], times_x[kGroup];
      STN_UNROLL
      for (int v = 0; v < vectors; ++v) {
        store(once + v * wide, sums[k][0][v]);
        store(times_x + v * wide, sums[k][1][v]);
      }
      STN_UNROLL
      for (int n = 0; n < kGroup; n += kLanes<double>) {
        const Vec<double> plain = load_as_double(once + n);
        const auto sum = [&](int j, const Vec<double>& more) STN_LAMBDA {
          double* to = total[k] + j * kGroup + n;
          store(to, load<Vec<double>>(to) + more);
        };
        sum(0, load_as_double(times_x + n));
        sum(1, plain * y);
        if (D == 3) sum(2, plain * z);
        sum(D, plain);
      }
    }
  }

  // The same of a run of pixels of an affine map that are `at` these places in the output, about
  // its centre. Behind them, to a whole group, slopes are zero.
  STN_NOINLINE void run(int count, const T* slopes, const T* at, int64_t step) {
    constexpr int wide = kLanes<T>, vectors = kGroup / wide;
    STN_UNROLL
    for (int k = 0; k < D; ++k) {  // row by row: all of the sums would not be kept in registers
      Vec<T> sums[(D + 1) * vectors];
      STN_UNROLL
      for (int m = 0; m < (D + 1) * vectors; ++m) sums[m] = Vec<T>{};
      for (int n = 0; n < count; n += kGroup) {
        STN_UNROLL
        for (int v = 0; v < vectors; ++v) {
          const Vec<T> slope = load<Vec<T>>(slopes + k * step + n + v * wide);
          STN_UNROLL
          for (int j = 0; j < D; ++j) {
            sums[j * vectors + v] += slope * load<Vec<T>>(at + j * step + n + v * wide);
          }
          sums[D * vectors + v] += slope;
        }
      }
      T once[(D + 1) * kGroup];
      STN_UNROLL
      for (int m = 0; m < (D + 1) * vectors; ++m) store(once + m * wide, sums[m]);
      for (int n = 0; n < (D + 1) * kGroup; n += kLanes<double>) {
        double* to = total[k] + n;
        store(to, load<Vec<double>>(to) + load_as_double(once + n));
      }
    }
  }

  // Added to a part of the matrix's gradient.
  STN_NOINLINE void close(double* part) {
    if (call.p.grid) return;
    for (int k = 0; k < call.matrix_rows(); ++k) {
      const double half = k < D ? call.axis(k).half : 1;
      for (int j = 0; j <= D; ++j) {
        const Axis to = call.axis(j < D ? j : 0);
        double sum = 0;
        for (int n = 0; n < kGroup; ++n) sum += total[k][j * kGroup + n];
        *part++ += sum * (j < D ? to.per_step(half) : half);
      }
    }
  }
};

}  // namespace
}  // namespace stn::STN_SET
