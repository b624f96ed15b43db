"""A lifecycle node that refuses a transition which is not possible now; rclpy's own would end its process."""

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


class RefusingLifecycleNode(LifecycleNode):
    """Answers `~/change_state` always."""

    # The mangled name of the handler that rclpy's mix-in registers.
    def _LifecycleNodeMixin__on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)
        except rclpy_implementation.RCLError:
            state = self._state_machine.current_state[1]
            asked = request.transition.label or request.transition.id
            self.get_logger().warn(f"transition {asked} refused: it is not possible in state {state}")
            response.success = False
            return response
