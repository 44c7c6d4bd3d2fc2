#include "dist/gather_schedule.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/error.h"

namespace spq::dist {

GatherSchedule::GatherSchedule(Start start, Drop drop) : start_(std::move(start)), drop_(std::move(drop)) {}

GatherSchedule::~GatherSchedule() {
  try {
    release_all();
  } catch (const std::exception&) {
    // The gather has failed: whoever acquires the unit, or the next collective, reports it.
  }
}

void GatherSchedule::begin(std::vector<int64_t> order) {
  order.erase(std::unique(order.begin(), order.end()),
              order.end());  // a unit named twice in a row is one use
  order_ = std::move(order);
  next_ = 0;
  const bool keeps_current = current_ && !order_.empty() && order_[0] == current_->unit;
  if (!keeps_current) drop(current_);
  const size_t first_to_gather = keeps_current ? 1 : 0;
  const bool keeps_ahead =
      ahead_ && first_to_gather < order_.size() && order_[first_to_gather] == ahead_->unit;
  if (!keeps_ahead) drop(ahead_);
  start_ahead(first_to_gather);
}

void GatherSchedule::acquire(int64_t unit) {
  const bool is_current = current_ && current_->unit == unit;
  if (is_current) {
    // Acquired before, or kept by begin(): then it is the first of the order, and its follower is under way.
    if (next_ == 0) next_ = 1;
    return;
  }
  SPQ_ASSERT(next_ < order_.size() && order_[next_] == unit);
  SPQ_ASSERT(ahead_ && ahead_->unit == unit);
  wait(*ahead_);
  ++next_;
  std::swap(current_, ahead_);
  const bool needed_next = ahead_ && next_ < order_.size() && order_[next_] == ahead_->unit;
  if (!needed_next) drop(ahead_);
  start_ahead(next_);
}

void GatherSchedule::release_all() {
  order_.clear();
  next_ = 0;
  std::exception_ptr failure;
  for (std::optional<Held>* held : {&current_, &ahead_}) {
    try {
      drop(*held);
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void GatherSchedule::wait(Held& held) {
  for (const std::unique_ptr<Work>& work : held.works) work->wait();
  held.works.clear();
}

void GatherSchedule::drop(std::optional<Held>& held) {
  if (!held) return;
  std::exception_ptr failure;
  // Every one of them: the buffers may go only when nothing writes to them any more.
  for (const std::unique_ptr<Work>& work : held->works) {
    try {
      work->wait();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
  const int64_t unit = held->unit;
  held.reset();
  drop_(unit);
  if (failure) std::rethrow_exception(failure);
}

void GatherSchedule::start_ahead(size_t place) {
  if (!ahead_ && place < order_.size()) ahead_ = Held{order_[place], start_(order_[place])};
}

}  // namespace spq::dist
