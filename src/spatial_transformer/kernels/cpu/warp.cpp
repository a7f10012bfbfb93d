// Fused warps on the CPU: theta's matrix (or an explicit grid) -> output, and both gradients.
//
// A plain C interface on raw pointers, without Python or torch headers: one build serves every
// torch release. Work is cut into tasks that do not depend on the number of threads, each number is
// written by one task in a fixed order, and partial sums are added in a fixed order: results are
// the same bit for bit from run to run, for any number of threads and any instruction set.

#include <math.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "plan.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross a function that is not inlined

namespace stn {

void* scratch(size_t bytes) {
  struct Block {
    void* memory = nullptr;
    size_t size = 0;
    ~Block() { std::free(memory); }
  };
  static thread_local Block block;
  if (block.size < bytes) {
    std::free(block.memory);
    block.size = 0;
    block.memory = std::malloc(bytes);
    if (!block.memory) throw std::bad_alloc();
    block.size = bytes;
  }
  return block.memory;
}

// One task of a pass; the numbers say which.
template <class T>
using Task = void (*)(const Call<T>& call, const int64_t* numbers);
template <class T>
struct Passes {
  Task<T> forward;         // output b, rows [first, last), channels [low, high)
  Task<T> map_gradient;    // output b, tile
  Task<T> image_gradient;  // image, channels [low, high)
};

#define STN_BYTES 16
namespace baseline {
#include "passes.inc.h"
}
#undef STN_BYTES

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define STN_X86 1
#define STN_BYTES 32
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
#include "passes.inc.h"
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#undef STN_BYTES
#define STN_BYTES 32
namespace avx512 {
#include "passes.inc.h"
}
#undef STN_BYTES
#pragma GCC pop_options
#endif

namespace {

int64_t best_level() {
#ifdef STN_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return 2;
  }
  if (__builtin_cpu_supports("avx2")) return 1;
#endif
  return 0;
}

template <class T>
Passes<T> passes_for(const Call<T>& call) {
#ifdef STN_X86
  static const int64_t best = best_level();
  const int64_t level = call.p.level < best ? call.p.level : best;
  if (level >= 2) return avx512::passes(call);
  if (level == 1) return avx2::passes(call);
#endif
  return baseline::passes(call);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the work is cut.
template <class T>
void cut(Call<T>& call) {
  constexpr int64_t kCopy = 256 << 10, kTile = 8192, kFew = 8;
  const Plan& p = call.p;
  // A padded copy pays where the plane is small against the cache and the output.
  call.padded = true;
  const int64_t bytes = call.padded_plane() * int64_t(sizeof(T));
  int64_t tile = kTile < call.plane() ? call.plane() : kTile;
  call.padded = bytes <= kCopy && call.plane() <= 8 * call.out_plane() &&
                p.batch * ceil_div(call.out_plane(), tile) >= (call.plane() < 1024 ? 1 : 4);
  if (!call.padded) tile = kTile;
  call.tile_rows = ceil_div(tile, p.out_width);
  call.tiles = ceil_div(p.out_height, call.tile_rows);
  call.block = !call.padded ? p.channels : bytes * 2 > kCopy ? 1 : kCopy / 2 / bytes;
  if (call.block > p.channels) call.block = p.channels;
  // enough tasks that threads finish together
  call.image_block = ceil_div(p.images * p.channels, 2 * kFew);
  if (call.image_block > call.block) call.image_block = call.block;
}

template <class T, class Work>
void in_parallel(const Call<T>& call, int64_t tasks, const Work& work) {
  const int64_t pixels = call.p.batch * call.p.channels * call.out_plane();
  const int threads = int(pixels < 32768 ? 1 : call.p.threads < tasks ? call.p.threads : tasks);
  if (threads <= 1) {
    for (int64_t task = 0; task < tasks; ++task) work(task);
    return;
  }
  const int64_t share = ceil_div(tasks, 16 * threads);
#pragma omp parallel for schedule(dynamic, share) num_threads(threads)
  for (int64_t task = 0; task < tasks; ++task) work(task);
}

template <class T>
void forward(Call<T> call) {
  cut(call);
  const Plan& p = call.p;
  const Task<T> run = passes_for(call).forward;
  // few outputs: their channels are tasks too
  const int64_t step = p.batch * call.tiles < 8 ? 1 : p.channels;
  const int64_t blocks = ceil_div(p.channels, step);
  in_parallel(call, p.batch * call.tiles * blocks, [&](int64_t task) {
    const int64_t low = task % blocks * step, tile = task / blocks % call.tiles;
    const int64_t first = tile * call.tile_rows, last = first + call.tile_rows;
    const int64_t numbers[] = {task / blocks / call.tiles, first,
                               last < p.out_height ? last : p.out_height, low,
                               low + step < p.channels ? low + step : p.channels};
    run(call, numbers);
  });
}

template <class T>
void backward(Call<T> call) {
  cut(call);
  const Plan& p = call.p;
  const Passes<T> passes = passes_for(call);
  if (call.grad_image) {
    const int64_t step = call.image_block, blocks = ceil_div(p.channels, step);
    in_parallel(call, p.images * blocks, [&](int64_t task) {
      const int64_t low = task % blocks * step;
      const int64_t numbers[] = {task / blocks, low,
                                 low + step < p.channels ? low + step : p.channels};
      passes.image_gradient(call, numbers);
    });
  }
  if (!call.grad_map) return;
  if (p.kernel == kNearest) {  // flat between its steps
    const int64_t size = p.grid ? p.batch * call.out_plane() * 2 : p.maps * 6;
    memset(call.grad_map, 0, size_t(size) * sizeof(T));
    return;
  }
  std::vector<double> parts(size_t(p.grid ? 0 : p.batch * call.tiles * 6));
  call.parts = parts.data();
  in_parallel(call, p.batch * call.tiles, [&](int64_t task) {
    const int64_t numbers[] = {task / call.tiles, task % call.tiles};
    passes.map_gradient(call, numbers);
  });
  if (p.grid) return;
  const int64_t sharing = p.batch / p.maps * call.tiles;
  for (int64_t k = 0; k < p.maps * 6; ++k) {
    double total = 0;
    for (int64_t n = 0; n < sharing; ++n) total += parts[size_t((k / 6 * sharing + n) * 6 + k % 6)];
    call.grad_map[k] = T(total);
  }
}

template <class T>
int guarded(void (*pass)(Call<T>), const Call<T>& call) {
  try {
    pass(call);
  } catch (...) {
    return 1;  // out of memory
  }
  return 0;
}

}  // namespace
}  // namespace stn

using stn::Call;
using stn::Plan;

#define STN_EXPORT extern "C" __attribute__((visibility("default")))

STN_EXPORT int stn_abi() { return 2; }
STN_EXPORT int stn_level() { return int(stn::best_level()); }

// `map` is the matrices (maps, 2, 3) or grids (maps, out_height, out_width, 2), fill (fills,
// channels) or null. The gradient to grids has the output's batch. A null gradient is not computed.
// All arrays are contiguous. Returns 0, or 1 when there is no memory.
#define STN_DEFINE(T, suffix)                                                                     \
  STN_EXPORT int stn_forward_##suffix(const Plan* p, const T* image, const T* map, const T* fill, \
                                      T* out) {                                                   \
    return stn::guarded(stn::forward<T>,                                                          \
                        Call<T>(*p, image, map, fill, nullptr, out, nullptr, nullptr));           \
  }                                                                                               \
  STN_EXPORT int stn_backward_##suffix(const Plan* p, const T* image, const T* map,               \
                                       const T* fill, const T* grad, T* grad_image,               \
                                       T* grad_map) {                                             \
    return stn::guarded(stn::backward<T>,                                                         \
                        Call<T>(*p, image, map, fill, grad, nullptr, grad_image, grad_map));      \
  }
STN_DEFINE(float, f32)
STN_DEFINE(double, f64)
