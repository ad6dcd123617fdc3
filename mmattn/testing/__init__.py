"""What tests share: contracts to inherit, tiny scenes, toy trainings."""
